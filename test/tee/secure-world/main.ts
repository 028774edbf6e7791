/**
 * The secure world as a process: opens storage, loads the TAs, serves the socket.
 *
 * Composition only. It prints one line when it is ready and one when a TA panics, and never anything
 * that a TA holds.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { pkcs11App } from './pkcs11/ta.ts';
import {
  BackendFailure,
  closeBackends,
  openBackends,
  privateStorage,
  type StorageBackends,
} from './storage/backends.ts';
import { TEE_ERROR_SECURITY } from './storage/trusted-storage.ts';
import { listenAt } from './world/listen.ts';
import { createWorldServer } from './world/server.ts';
import { World } from './world/world.ts';

const DEFAULT_SOCKET = '/run/ota-agent-tee/socket';
const HUK_BYTES = 16;
const EXIT = { FAILED: 1, USAGE: 2 } as const;
const USAGE = `usage: npm run tee -- --storage DIR [--socket PATH] [--huk FILE]
           [--rpmb] [--rpmb-dir PATH] [--private ree|rpmb]

  --storage DIR     where the tokens are kept; made, for its owner alone, when there is none
  --socket PATH     where clients connect; default $OTA_TEE_SOCKET, then ${DEFAULT_SOCKET}
  --huk FILE        the hardware unique key, ${String(HUK_BYTES)} bytes; default DIR/huk, made when there is none
  --rpmb            there is an RPMB: rolling back DIR is detected by what it remembers
  --rpmb-dir PATH   where the RPMB is kept, with --rpmb; default DIR/rpmb
  --private KIND    what TEE_STORAGE_PRIVATE is: ree (default), or rpmb, with --rpmb, for tokens in
                    the RPMB and no REE-FS at all
`;

class UsageError extends Error {
  override readonly name = 'UsageError';
}

interface Options {
  readonly storage: string;
  readonly socket: string;
  readonly hukFile: string | undefined;
  /** `undefined` without an RPMB. */
  readonly rpmb: string | undefined;
  readonly private: 'ree' | 'rpmb';
}

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      storage: { type: 'string' },
      socket: { type: 'string' },
      huk: { type: 'string' },
      rpmb: { type: 'boolean' },
      'rpmb-dir': { type: 'string' },
      private: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  if (values.storage === undefined || values.storage === '') {
    throw new UsageError('--storage is missing: say in which directory the tokens are kept');
  }
  const socket = values.socket ?? process.env['OTA_TEE_SOCKET'] ?? DEFAULT_SOCKET;
  if (socket === '') throw new UsageError('the socket path is empty: give one with --socket');
  const rpmb = readRpmb(values, values.storage);
  return { storage: values.storage, socket, hukFile: values.huk, ...rpmb };
}

function readRpmb(
  values: {
    readonly rpmb?: boolean | undefined;
    readonly 'rpmb-dir'?: string | undefined;
    readonly private?: string | undefined;
  },
  storage: string,
): Pick<Options, 'rpmb' | 'private'> {
  const { rpmb = false, 'rpmb-dir': directory, private: kind = 'ree' } = values;
  if (kind !== 'ree' && kind !== 'rpmb') {
    throw new UsageError(`--private is ${JSON.stringify(kind)}: it can be ree or rpmb`);
  }
  if (directory === '') throw new UsageError('--rpmb-dir is empty: say where the RPMB is kept');
  if (!rpmb && directory !== undefined) {
    throw new UsageError('--rpmb-dir says where an RPMB is kept: there is one with --rpmb only');
  }
  if (!rpmb && kind === 'rpmb') {
    throw new UsageError(
      '--private rpmb keeps the tokens in an RPMB: there is one with --rpmb only',
    );
  }
  return { private: kind, rpmb: rpmb ? (directory ?? join(storage, 'rpmb')) : undefined };
}

function readHuk(directory: string, file: string | undefined): Uint8Array {
  const path = file ?? join(directory, 'huk');
  const huk = file === undefined ? readOrMakeHuk(path) : readGivenHuk(file);
  if (huk.byteLength === HUK_BYTES) return huk;
  throw new UsageError(
    `${path} has ${String(huk.byteLength)} bytes: a hardware unique key has ${String(HUK_BYTES)}`,
  );
}

function readGivenHuk(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new UsageError(
      `cannot read the hardware unique key ${path}: ${String(cause)}; give a file of ${String(HUK_BYTES)} bytes with --huk, or none`,
      { cause },
    );
  }
}

/** Made once: another key would make everything stored unreadable, so none is ever replaced. */
function readOrMakeHuk(path: string): Uint8Array {
  try {
    writeFileSync(path, randomBytes(HUK_BYTES), { flag: 'wx', mode: 0o600, flush: true });
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause;
  }
  return readFileSync(path);
}

function reportPanic(uuid: string, cause: unknown): void {
  const what = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
  process.stderr.write(`tee: TA ${uuid} panicked; its sessions are dead: ${what}\n`);
}

/** Ends when asked to: connections, TAs, storage and socket, in this order. */
function endOnSignal(server: Server, end: () => void): void {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      server.close(end);
      for (const socket of sockets) socket.destroy();
    });
  }
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const what = `cannot make ${path}: ${String(cause)}; give another directory with --storage`;
    throw new Error(what, { cause });
  }
}

function openStorage(options: Options, huk: Uint8Array): StorageBackends {
  const { storage: reeDirectory, rpmb: rpmbDirectory } = options;
  try {
    return options.private === 'rpmb' && rpmbDirectory !== undefined
      ? openBackends({ private: 'rpmb', rpmbDirectory, huk })
      : openBackends({ private: 'ree', reeDirectory, rpmbDirectory, huk });
  } catch (cause) {
    if (!(cause instanceof BackendFailure)) throw cause;
    throw new Error(describeFailure(cause, options), { cause });
  }
}

function describeFailure(
  { backend, directory, message, result }: BackendFailure,
  options: Options,
): string {
  if (backend === 'rpmb') {
    return `cannot open the storage in ${directory}: ${message}; give the key it was made with by --huk, or another directory by --rpmb-dir`;
  }
  if (options.rpmb !== undefined && result === TEE_ERROR_SECURITY) {
    return `cannot open the storage in ${directory}: ${message}: it is not what the RPMB in ${options.rpmb} remembers, so one of the two was put back or exchanged; put back the newest of both, or start with an empty directory for each`;
  }
  return `cannot open the storage in ${directory}: ${message}; give the key it was made with by --huk, or another directory by --storage`;
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const { storage: directory, socket, hukFile } = options;
  makeDirectory(directory);
  const huk = readHuk(directory, hukFile);
  const storage = openStorage(options, huk);
  const world = new World([pkcs11App(privateStorage(storage))], reportPanic);
  const server = createWorldServer(world);
  const removeSocket = await listenAt(server, socket);
  endOnSignal(server, () => {
    world.close();
    closeBackends(storage);
    removeSocket();
  });
  process.stdout.write(`tee: ready at ${socket}, storage in ${directory}\n`);
}

function fail(cause: unknown): never {
  const isUsage = cause instanceof UsageError || (cause instanceof TypeError && 'code' in cause);
  const what = cause instanceof Error ? cause.message : String(cause);
  process.stderr.write(`tee: ${what}\n${isUsage ? USAGE : ''}`);
  process.exit(isUsage ? EXIT.USAGE : EXIT.FAILED);
}

main().catch(fail);
