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

import { DEFAULT_SLOT_COUNT } from './pkcs11/abi.ts';
import { pkcs11App, type Pkcs11Options } from './pkcs11/ta.ts';
import { openReeFs } from './storage/ree-fs.ts';
import { StorageFailure, type TrustedStorage } from './storage/trusted-storage.ts';
import { listenAt } from './world/listen.ts';
import { createWorldServer } from './world/server.ts';
import { World } from './world/world.ts';

const DEFAULT_SOCKET = '/run/ota-agent-tee/socket';
const HUK_BYTES = 16;
/** Each slot costs a record in storage at start. */
const MAX_SLOTS = 64;
const EXIT = { FAILED: 1, USAGE: 2 } as const;
const USAGE = `usage: npm run tee -- --storage DIR [--socket PATH] [--huk FILE] [--slots N] [--strict]

  --storage DIR  where the tokens are kept; made, for its owner alone, when there is none
  --socket PATH  where clients connect; default $OTA_TEE_SOCKET, then ${DEFAULT_SOCKET}
  --huk FILE     the hardware unique key, ${String(HUK_BYTES)} bytes; default DIR/huk, made when there is none
  --slots N      tokens of the PKCS#11 TA, 1 to ${String(MAX_SLOTS)}; default ${String(DEFAULT_SLOT_COUNT)}
  --strict       answer as OP-TEE does where it falls short of PKCS#11, panics included
`;

class UsageError extends Error {
  override readonly name = 'UsageError';
}

interface Options {
  readonly storage: string;
  readonly socket: string;
  readonly hukFile: string | undefined;
  readonly pkcs11: Pkcs11Options;
}

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      storage: { type: 'string' },
      socket: { type: 'string' },
      huk: { type: 'string' },
      slots: { type: 'string' },
      strict: { type: 'boolean' },
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
  const pkcs11: Pkcs11Options = {
    slotCount: readSlotCount(values.slots),
    mode: values.strict === true ? 'strict' : 'default',
  };
  return { storage: values.storage, socket, hukFile: values.huk, pkcs11 };
}

function readSlotCount(text: string | undefined): number {
  if (text === undefined) return DEFAULT_SLOT_COUNT;
  const count = /^[0-9]{1,3}$/u.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MAX_SLOTS) return count;
  throw new UsageError(`--slots ${text}: give a number of tokens from 1 to ${String(MAX_SLOTS)}`);
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

function openStorage(directory: string, huk: Uint8Array): TrustedStorage {
  try {
    return openReeFs({ directory, huk });
  } catch (cause) {
    if (!(cause instanceof StorageFailure)) throw cause;
    throw new Error(
      `cannot open the storage in ${directory}: ${cause.message}; give the key it was made with by --huk, or another directory by --storage`,
      { cause },
    );
  }
}

async function main(): Promise<void> {
  const { storage: directory, socket, hukFile, pkcs11 } = readOptions(process.argv.slice(2));
  makeDirectory(directory);
  const huk = readHuk(directory, hukFile);
  const storage = openStorage(directory, huk);
  const world = new World([pkcs11App(storage, pkcs11)], reportPanic);
  const server = createWorldServer(world);
  const removeSocket = await listenAt(server, socket);
  endOnSignal(server, () => {
    world.close();
    storage.close();
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
