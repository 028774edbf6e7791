/** A connection to SQLite or PostgreSQL, and what it means when it does not answer. */
import knex, { type Knex } from 'knex';

import { DirectorFailure, reasonOf, Refusal } from '../failure.ts';

const CONNECTIONS = 8;
/** A connection to a PostgreSQL that hangs must not hold a device for ever. */
const WAIT_MS = 10_000;
/** Another process has the file: SQLite tries again for so long. */
const BUSY_MS = 20_000;
/** Whoever asked is told; a line for every attempt would bury the rest. */
const SILENT = { error: (): void => undefined, warn: (): void => undefined };
const RETRY_AFTER = { 'retry-after': '2' };

/** Of Node, of SQLite, and SQLSTATEs: connection lost, server stops or starts, too many clients. */
const UNREACHABLE =
  /^(?:ECONN|EPIPE|ENOENT|EHOSTUNREACH|ETIMEDOUT|SQLITE_BUSY|SQLITE_LOCKED|08|57P0|53300|25P03)/u;
/** Messages of pg, which have no code; knex may put the statement before. */
const LOST =
  /(?:^| - )(?:Connection terminated|Client has encountered a connection error|Connection ended)[a-z ]*$/u;

export async function openDatabase(
  where: string,
  prepare: (database: Knex) => Promise<void>,
): Promise<Knex> {
  const database = knex(isPostgresUrl(where) ? postgres(where) : sqlite(where));
  try {
    await prepare(database);
  } catch (cause) {
    await database.destroy();
    throw new DirectorFailure(
      `the database cannot be used: ${reasonOf(cause)}`,
      { where: withoutPassword(where), remedy: 'check DATABASE_URL, and that it may be written' },
      { cause },
    );
  }
  return database;
}

/** Makes a failure to reach the database an answer that devices understand: later. */
export async function whileReachable<T>(work: PromiseLike<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof Error && isUnreachable(cause)) {
      const options = { cause, headers: RETRY_AFTER };
      throw new Refusal(503, 'database_unavailable', 'the database does not answer', options);
    }
    throw cause;
  }
}

function isPostgresUrl(where: string): boolean {
  return /^postgres(?:ql)?:\/\//u.test(where);
}

function postgres(connectionString: string): Knex.Config {
  return {
    client: 'pg',
    log: SILENT,
    connection: { connectionString, connectionTimeoutMillis: WAIT_MS },
    pool: { min: 0, max: CONNECTIONS },
    acquireConnectionTimeout: WAIT_MS,
  };
}

/** One connection: SQLite has one writer, and knex would begin transactions that then fail. */
function sqlite(filename: string): Knex.Config {
  return {
    client: 'sqlite3',
    log: SILENT,
    connection: { filename },
    useNullAsDefault: true,
    pool: {
      min: 1,
      max: 1,
      afterCreate: (connection: SqliteConnection, done: (error: Error | null) => void) => {
        connection.configure('busyTimeout', BUSY_MS);
        connection.exec('pragma journal_mode = wal; pragma synchronous = full;', done);
      },
    },
  };
}

interface SqliteConnection {
  configure(option: 'busyTimeout', value: number): void;
  exec(statements: string, done: (error: Error | null) => void): void;
}

function isUnreachable(error: Error): boolean {
  const code = 'code' in error ? String(error.code) : '';
  return UNREACHABLE.test(code) || LOST.test(error.message) || error.name === 'KnexTimeoutError';
}

function withoutPassword(where: string): string {
  return where.replace(/:[^:@/]*@/u, ':…@');
}
