/**
 * SQLite as the agent uses it: one file, one connection, every commit on disk before it resolves.
 *
 * The only importer of sqlite3, whose upstream is archived: node:sqlite can take its place here.
 */
import { readFile } from 'node:fs/promises';

import sqlite3 from 'sqlite3';

import { causeOf, OtaError } from '../../errors.ts';

export type Value = string | number | Uint8Array | null;
export type Row = Readonly<Record<string, unknown>>;

/** Statements of one transaction; use nothing else until it ends. */
export interface Transaction {
  run(sql: string, ...values: Value[]): Promise<void>;
  all(sql: string, ...values: Value[]): Promise<Row[]>;
}

const SCHEMA_VERSION = 1;
const SCHEMA = new URL('schema.sql', import.meta.url);

export class Database {
  readonly path: string;
  readonly #handle: sqlite3.Database;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(path: string, handle: sqlite3.Database) {
    this.path = path;
    this.#handle = handle;
  }

  /**
   * Opens or creates the database, checks all of it and brings its schema up to date.
   *
   * @throws OtaError STORAGE_CORRUPT, STORAGE_FAILED
   */
  static async open(path: string): Promise<Database> {
    const database = new Database(path, await connect(path));
    try {
      await database.#run('PRAGMA busy_timeout = 5000');
      await database.#run('PRAGMA journal_mode = WAL');
      await database.#run('PRAGMA synchronous = FULL');
      await database.#run('PRAGMA foreign_keys = ON');
      await database.check();
      await database.#migrate();
      return database;
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  /**
   * Opens a database that is there already, to look at while others write.
   *
   * @throws OtaError STORAGE_CORRUPT, STORAGE_FAILED also where there is none
   */
  static async openExisting(path: string): Promise<Database> {
    const database = new Database(path, await connect(path, sqlite3.OPEN_READWRITE));
    await database.#run('PRAGMA busy_timeout = 5000');
    return database;
  }

  /** Runs `act` in one transaction: all of it is durable when this resolves, or none of it ever was. */
  transaction<T>(act: (transaction: Transaction) => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      await this.#run('BEGIN IMMEDIATE');
      try {
        const result = await act({
          run: (sql, ...values) => this.#run(sql, ...values),
          all: (sql, ...values) => this.#all(sql, ...values),
        });
        await this.#run('COMMIT');
        return result;
      } catch (error) {
        await this.#run('ROLLBACK').catch(() => undefined);
        throw error;
      }
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** One reading statement, after the transactions already asked for. */
  all(sql: string, ...values: Value[]): Promise<Row[]> {
    const turn = this.#last.then(() => this.#all(sql, ...values));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async close(): Promise<void> {
    await this.#last;
    await new Promise<void>((resolve) => {
      this.#handle.close(() => {
        resolve();
      });
    });
  }

  /** @throws OtaError STORAGE_CORRUPT if not all of it is as it was written */
  async check(): Promise<void> {
    const [row] = await this.#all('PRAGMA quick_check(1)');
    const verdict = row?.['quick_check'];
    if (verdict !== 'ok') throw corrupt(this.path, String(verdict));
  }

  async #migrate(): Promise<void> {
    const [row] = await this.#all('PRAGMA user_version');
    const version = Number(row?.['user_version']);
    if (version > SCHEMA_VERSION) {
      throw new OtaError('STORAGE_FAILED', {
        path: this.path,
        cause: `written by a newer agent (schema ${String(version)}, this one knows ${String(SCHEMA_VERSION)})`,
        remedy: 'install the newer agent again',
      });
    }
    if (version === SCHEMA_VERSION) return;
    const schema = await readFile(SCHEMA, 'utf8');
    await this.#exec(`BEGIN; ${schema}; PRAGMA user_version = ${String(SCHEMA_VERSION)}; COMMIT;`);
  }

  #run(sql: string, ...values: Value[]): Promise<void> {
    return this.#call((done) => this.#handle.run(sql, values, done));
  }

  #all(sql: string, ...values: Value[]): Promise<Row[]> {
    return this.#call<Row[]>((done) => this.#handle.all<Row>(sql, values, done));
  }

  #exec(sql: string): Promise<void> {
    return this.#call((done) => this.#handle.exec(sql, done));
  }

  #call<T = void>(start: (done: (error: Error | null, result: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      start((error, result) => {
        if (error === null) resolve(result);
        else reject(translated(this.path, error));
      });
    });
  }
}

function connect(
  path: string,
  mode = sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE,
): Promise<sqlite3.Database> {
  return new Promise((resolve, reject) => {
    const handle: sqlite3.Database = new sqlite3.Database(path, mode, (error) => {
      if (error === null) resolve(handle);
      else reject(translated(path, error));
    });
  });
}

const CORRUPT = new Set(['SQLITE_CORRUPT', 'SQLITE_NOTADB']);

function translated(path: string, error: Error): Error {
  const code = 'code' in error ? String(error.code) : '';
  if (CORRUPT.has(code)) return corrupt(path, error.message, error);
  if (code === 'SQLITE_BUSY') {
    const remedy = 'wait for the other ota-agent process, or stop it';
    return new OtaError('STORAGE_BUSY', { path, remedy }, { cause: error });
  }
  const remedy =
    code === 'SQLITE_FULL'
      ? 'free space on this file system; nothing was lost'
      : 'check that the directory exists, is writable and its disk is healthy';
  return new OtaError('STORAGE_FAILED', { path, cause: causeOf(error), remedy }, { cause: error });
}

function corrupt(path: string, cause: string, error?: Error): OtaError<'STORAGE_CORRUPT'> {
  const remedy = `move it aside (mv ${path} ${path}.corrupt) and run ota-agent provision: the keys are safe in the token`;
  return new OtaError('STORAGE_CORRUPT', { path, cause, remedy }, { cause: error });
}
