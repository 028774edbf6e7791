/**
 * The PKCS#11 library in a process of its own: a library that crashes then takes nobody along, and one
 * that is linked with the system's OpenSSL never meets the one in Node.js.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { OtaError } from '../../errors.ts';
import { libraryFolders } from '../library-folders.ts';
import { withoutPins } from './pin.ts';

const CLIENT = 'p11-kit-client.so';
const START_MS = 10_000;
const POLL_MS = 5;

/**
 * $1 library, $2 socket, $3 directory.
 *
 * The server starts a process for every connection, so a library that crashes ends only that one; a server
 * that ends is started again, under the same address. Standard input is a pipe that the agent never
 * writes to. Whatever ends the agent, SIGKILL included, closes it; then the whole process group goes, with
 * a library that hangs, and the directory with it.
 */
const SUPERVISE = `
while :; do
  rm -f "$2"
  p11-kit server --foreground --provider "$1" --name "$2" pkcs11: </dev/null >"$3/listens"
  : >"$3/ended"
  sleep 1
done &
read -r _
rm -rf "$3"
kill -KILL 0
`;

/** A running server, and how to end it. */
export interface IsolatedModule {
  /** In memory where the system allows; for this user alone; gone with the server. */
  readonly directory: string;
  stop(): void;
}

/**
 * The library that speaks to the server.
 *
 * @throws OtaError TOKEN_MODULE if it is not installed
 */
export function clientLibrary(): string {
  const folders = libraryFolders('pkcs11');
  const found = folders.map((folder) => join(folder, CLIENT)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw unusable(CLIENT, `not in ${folders.join(', ')}`);
}

/**
 * Starts p11-kit's server for one library, on a socket that only this user can reach.
 *
 * It blocks until the server listens, as loading a library does. `P11_KIT_SERVER_ADDRESS` then names the
 * socket to everything in this process that loads the client library.
 *
 * @throws OtaError TOKEN_MODULE if it does not start
 */
export function startIsolated(module: string): IsolatedModule {
  const directory = mkdtempSync(join(memoryDirectory(), 'ota-agent-p11-'));
  const socket = join(directory, 'socket');
  const child = spawn(
    '/bin/sh',
    ['-c', SUPERVISE, 'ota-agent-p11-kit', module, socket, directory],
    {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
      env: withoutPins(process.env),
    },
  );
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  child.unref();
  // A pipe is a socket to Node.js; neither it nor the server keeps a command from ending.
  if (child.stdin instanceof Socket) child.stdin.unref();
  const stop = (): void => {
    child.stdin.destroy();
  };
  if (child.pid === undefined || !listens(directory)) {
    stop();
    endAtOnce(child.pid);
    // What was ending may have made a file in it meanwhile.
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: POLL_MS });
    throw unusable(module, 'p11-kit server did not start');
  }
  process.env['P11_KIT_SERVER_ADDRESS'] = `unix:path=${socket}`;
  return { directory, stop };
}

function endAtOnce(group: number | undefined): void {
  if (group === undefined) return;
  try {
    process.kill(-group, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** systemd's RUNTIME_DIRECTORY may be a list. */
function memoryDirectory(): string {
  const [runtime] = process.env['RUNTIME_DIRECTORY']?.split(':') ?? [];
  return [runtime, '/dev/shm'].find((path) => path !== undefined && existsSync(path)) ?? tmpdir();
}

/** The server says where it listens as soon as it does: a socket that is only bound refuses us. */
function listens(directory: string): boolean {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < START_MS; waitedMs += POLL_MS) {
    if (existsSync(join(directory, 'ended'))) return false;
    if ((statSync(join(directory, 'listens'), { throwIfNoEntry: false })?.size ?? 0) > 0)
      return true;
    Atomics.wait(clock, 0, 0, POLL_MS);
  }
  return false;
}

function unusable(module: string, cause: string): OtaError<'TOKEN_MODULE'> {
  const remedy = 'apt-get install p11-kit p11-kit-modules, or set token.isolation = "none"';
  return new OtaError('TOKEN_MODULE', { module, cause, remedy });
}
