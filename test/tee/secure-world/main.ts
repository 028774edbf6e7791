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
import { pathToFileURL } from 'node:url';

import { readOptions, USAGE, UsageError } from './options.ts';
import { pkcs11App } from './pkcs11/ta.ts';
import type { StorageBackends } from './storage/backends.ts';
import { openReeFs } from './storage/ree-fs.ts';
import { StorageFailure, type TrustedStorage } from './storage/trusted-storage.ts';
import type { TrustedApp } from './ta.ts';
import { listenAt } from './world/listen.ts';
import { createWorldServer } from './world/server.ts';
import { World } from './world/world.ts';

const HUK_BYTES = 16;
const EXIT = { FAILED: 1, USAGE: 2 } as const;

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

/** A module that is loaded is as trusted as the world: it is for test programs and one's own TAs. */
async function loadApp(path: string, backends: StorageBackends): Promise<TrustedApp> {
  const module = (await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new UsageError(`cannot load ${path}: ${String(cause)}`, { cause });
  })) as { readonly app?: (backends: StorageBackends) => TrustedApp };
  if (typeof module.app === 'function') return module.app(backends);
  throw new UsageError(`${path} exports no app: a --ta module exports app(backends): TrustedApp`);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  const { storage: directory, socket, hukFile, taModules } = options;
  makeDirectory(directory);
  const huk = readHuk(directory, hukFile);
  const storage = openStorage(directory, huk);
  const backends: StorageBackends = { ree: storage, private: 'ree' };
  const more = await Promise.all(taModules.map((path) => loadApp(path, backends)));
  const world = new World([pkcs11App(storage), ...more], reportPanic);
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
  const isUsage = cause instanceof UsageError;
  const what = cause instanceof Error ? cause.message : String(cause);
  process.stderr.write(`tee: ${what}\n${isUsage ? USAGE : ''}`);
  process.exit(isUsage ? EXIT.USAGE : EXIT.FAILED);
}

main().catch(fail);
