/**
 * One agent at a time per storage directory, and what a daemon holds between those who work for it.
 *
 * File locks that SQLite takes for us: unlike a pid file, kill -9 and a power cut release them. They are
 * taken with the SQLite of Node.js, because the process that only waits must not load another one.
 */
import { DatabaseSync } from 'node:sqlite';

import { causeOf, OtaError } from '../../errors.ts';

/** Held until released, or until the process ends in whatever way. */
export interface Lock {
  release(): void;
}

export const DATABASE = 'ota-agent.db';
/** Held by whoever answers for the storage: the daemon as long as it runs, else a command. */
const OUTER = 'lock.db';
/** Held by whoever works on it: the process that the daemon has started for a cycle, or that command. */
const INNER = 'work.db';
/** A process whose daemon was killed ends by itself, but not in the same instant. */
const DYING_MS = 5000;

/**
 * Takes the lock of a storage directory, and works on it.
 *
 * @throws OtaError STORAGE_BUSY if another process holds it
 */
export function takeLock(storagePath: string): Lock {
  const outer = lockService(storagePath);
  try {
    const inner = lockWork(storagePath);
    return {
      release: () => {
        inner.release();
        outer.release();
      },
    };
  } catch (error) {
    outer.release();
    throw error;
  }
}

/**
 * The lock of a daemon that has others do the work.
 *
 * @throws OtaError STORAGE_BUSY at once if another process holds it
 */
export function lockService(storagePath: string): Lock {
  return hold(storagePath, OUTER, { timeout: 0, by: LOCKING });
}

/**
 * The lock of who works for the daemon, or after `lockService`.
 *
 * @throws OtaError STORAGE_BUSY if another process still works on it
 */
export function lockWork(storagePath: string): Lock {
  return hold(storagePath, INNER, { timeout: DYING_MS, by: LOCKING });
}

/**
 * Has the database open, and does nothing with it: its write-ahead log stays where it is.
 *
 * The last connection that closes takes the log in and deletes it, and the next one makes it anew: four
 * durable writes around the one of a poll.
 *
 * Source: https://www.sqlite.org/wal.html, "The WAL File".
 *
 * @throws OtaError STORAGE_FAILED
 */
export function holdLog(storagePath: string): Lock {
  return hold(storagePath, DATABASE, { timeout: DYING_MS, by: READING });
}

const LOCKING = 'BEGIN EXCLUSIVE';
/** Until something is read a database is open in name only. */
const READING = 'SELECT 1 FROM sqlite_schema';

function hold(
  directory: string,
  name: string,
  { timeout, by }: { readonly timeout: number; readonly by: string },
): Lock {
  const path = `${directory}/${name}`;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout });
    database.exec(by);
  } catch (cause) {
    database?.close();
    throw refused(directory, path, cause);
  }
  const held = database;
  return {
    release: () => {
      held.close();
    },
  };
}

const SQLITE_BUSY = 5;

function refused(directory: string, path: string, cause: unknown): OtaError {
  if (cause instanceof Error && 'errcode' in cause && cause.errcode === SQLITE_BUSY) {
    const remedy = 'another ota-agent works on it: systemctl stop ota-agent, or wait for it';
    return new OtaError('STORAGE_BUSY', { path: directory, remedy }, { cause });
  }
  const remedy = 'check that the directory exists, is writable and its disk is healthy';
  return new OtaError('STORAGE_FAILED', { path, cause: causeOf(cause), remedy }, { cause });
}
