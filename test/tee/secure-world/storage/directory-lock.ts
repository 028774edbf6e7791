/**
 * Keeps a second process out of a storage directory: each would hold its own idea of dirf.db, and
 * the later commit would undo the earlier.
 *
 * Node has no file locks of its own, but its SQLite takes real ones. The kernel drops the lock when
 * the holder dies, however it dies, so there is never a stale one to break.
 */
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { StorageFailure, TEE_ERROR_STORAGE_NOT_AVAILABLE } from './trusted-storage.ts';

const SQLITE_BUSY = 5;

/**
 * @returns what gives the lock back
 * @throws StorageFailure TEE_ERROR_STORAGE_NOT_AVAILABLE when it is taken, here or elsewhere
 */
export function lockDirectory(directory: string): () => void {
  const file = path.join(directory, 'lock');
  const lock = new DatabaseSync(file, { timeout: 0 });
  try {
    // No journal: the lock is all that is wanted, and the file stays empty.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    if (!isBusy(cause)) throw cause;
    const what = `${directory} is in use: another secure world holds ${file}`;
    throw new StorageFailure(TEE_ERROR_STORAGE_NOT_AVAILABLE, what, { cause });
  }
  return () => {
    lock.close();
  };
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
}
