/** A PostgreSQL of one's own, in a directory of its own, reached by a Unix socket. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { endChild } from './end-child.ts';
import { temporaryDirectory } from './temporary.ts';

/** Debian has a directory for each version; the tests need none of them in particular. */
const DEBIAN = '/usr/lib/postgresql';
/** PostgreSQL refuses to run as root. */
const NOBODY = 65_534;
const START_MS = 60_000;

export interface Postgres {
  /** For DATABASE_URL. */
  readonly url: string;
  /** Of the process that all others belong to. */
  readonly pid: number;
  /** Stops it as a crash of the machine would, and starts it again over what it had written. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startPostgres(): Promise<Postgres> {
  const directory = temporaryDirectory('postgres');
  const data = join(directory.path, 'data');
  mkdirSync(data);
  if (process.getuid?.() === 0) {
    for (const path of [directory.path, data]) chownSync(path, NOBODY, NOBODY);
  }
  let server: ChildProcess;
  try {
    const how = ['-U', 'director', '-A', 'trust', '-E', 'UTF8', '-N'];
    await finished(run('initdb', ['-D', data, ...how]));
    server = await serve(data, directory.path);
  } catch (error) {
    directory.remove();
    throw error;
  }
  return {
    url: `postgres://director@localhost/postgres?host=${encodeURIComponent(directory.path)}`,
    get pid() {
      return server.pid ?? 0;
    },
    restart: async () => {
      await endChild(server, 'SIGQUIT');
      server = await serve(data, directory.path);
    },
    stop: async () => {
      await endChild(server, 'SIGINT');
      directory.remove();
    },
  };
}

function run(program: string, args: readonly string[]): ChildProcess {
  const identity = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  const env = { ...process.env, LC_ALL: 'C' };
  const stdio = ['ignore', 'ignore', 'pipe'] as const;
  return spawn(join(binaries(), program), args, { ...identity, env, stdio: [...stdio] });
}

function binaries(): string {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).map(Number) : [];
  const newest = versions.sort((a, b) => a - b).at(-1);
  if (newest === undefined) throw new Error(`no PostgreSQL in ${DEBIAN}: run npm run setup`);
  return join(DEBIAN, String(newest), 'bin');
}

async function finished(child: ChildProcess): Promise<void> {
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`initdb ended with ${String(code)}:\n${said}`);
}

/** Waits until it says that it takes connections, not until a socket is there: that comes before. */
async function serve(data: string, sockets: string): Promise<ChildProcess> {
  const settings = [
    'listen_addresses=',
    `unix_socket_directories=${sockets}`,
    'max_connections=60',
  ];
  const child = run('postgres', ['-D', data, ...settings.flatMap((one) => ['-c', one])]);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(`PostgreSQL does not start:\n${said}`));
    }, START_MS);
    child.once('exit', () => {
      clearTimeout(late);
      reject(new Error(`PostgreSQL has ended:\n${said}`));
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-65_536);
      if (!said.includes('ready to accept connections')) return;
      clearTimeout(late);
      resolve();
    });
  });
  return child;
}
