/**
 * The secure world as a process: opens storage, loads the TAs, serves the socket.
 *
 * Composition only. It prints one line when it is ready and one when a TA panics, and never anything
 * that a TA holds.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';

import { Board } from './board.ts';
import { ControlFailure, type ControlCommand } from './control/command.ts';
import { createControlServer } from './control/control-server.ts';
import { Control, type Report } from './control/control.ts';
import { readOptions, USAGE, UsageError, type Options } from './options.ts';
import { pkcs11App } from './pkcs11/ta.ts';
import type { BlockDirectory } from './storage/block-file.ts';
import { openDirectory } from './storage/disk-directory.ts';
import { isReeFsFile, openReeFsOn } from './storage/ree-fs.ts';
import { StorageFailure, type TrustedStorage } from './storage/trusted-storage.ts';
import { TaPanic, type TrustedApp } from './ta.ts';
import { listenAt } from './world/listen.ts';
import { createWorldServer } from './world/server.ts';

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
  const code = cause instanceof TaPanic ? ` with code 0x${cause.code.toString(16)}` : '';
  const what = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
  process.stderr.write(`tee: TA ${uuid} panicked${code}; its sessions are dead: ${what}\n`);
}

/** @returns what ends every connection that is open then */
function trackConnections(server: Server): () => void {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

/** @returns what stops it: nobody is connected any more and the socket is gone when that resolves */
async function serve(server: Server, path: string): Promise<() => Promise<void>> {
  const endConnections = trackConnections(server);
  const removeSocket = await listenAt(server, path);
  return async () => {
    const closed = once(server, 'close');
    server.close();
    endConnections();
    await closed;
    removeSocket();
  };
}

/** Ends when asked to: connections, sockets, TAs and storage, in this order. */
function endOnSignal(stops: readonly (() => Promise<void>)[], board: Board): void {
  const end = async (): Promise<void> => {
    await Promise.all(stops.map((stop) => stop()));
    board.close();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      end().catch(fail);
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

function openStorage(disk: BlockDirectory, huk: Uint8Array): TrustedStorage {
  try {
    return openReeFsOn(disk, { huk });
  } catch (cause) {
    disk.close();
    throw cause;
  }
}

function loadApps(storage: TrustedStorage): readonly TrustedApp[] {
  return [pkcs11App(storage)];
}

function startBoard(directory: string, huk: Uint8Array, control: Control | undefined): Board {
  try {
    return new Board({
      openDisk: () => openDirectory(directory),
      boot: (disk) => {
        const storage = openStorage(control?.wrapDisk(disk) ?? disk, huk);
        const apps = loadApps(storage);
        return {
          apps: control === undefined ? apps : apps.map((app) => control.wrapApp(app)),
          close: () => {
            storage.close();
          },
        };
      },
      onPanic: reportPanic,
    });
  } catch (cause) {
    if (!(cause instanceof StorageFailure)) throw cause;
    throw new Error(
      `cannot open the storage in ${directory}: ${cause.message}; give the key it was made with by --huk, or another directory by --storage`,
      { cause },
    );
  }
}

/** A device that does not start any more ends, after it has said why. */
function runOrEnd(control: Control, command: ControlCommand, board: Board): Report {
  try {
    return control.run(command, board);
  } catch (cause) {
    if (cause instanceof ControlFailure) throw cause;
    setImmediate(fail, cause);
    throw new ControlFailure(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

async function serveWorld(options: Options): Promise<void> {
  makeDirectory(options.storage);
  const huk = readHuk(options.storage, options.hukFile);
  const control = options.controlSocket === undefined ? undefined : new Control(isReeFsFile);
  const board = startBoard(options.storage, huk, control);
  const server = createWorldServer(board.world, control?.replies);
  board.connect(trackConnections(server));
  const stops = [await serve(server, options.socket)];
  if (control !== undefined && options.controlSocket !== undefined) {
    const controlServer = createControlServer((command) => runOrEnd(control, command, board));
    stops.push(await serve(controlServer, options.controlSocket));
  }
  endOnSignal(stops, board);
  const controlled =
    options.controlSocket === undefined ? '' : `, control at ${options.controlSocket}`;
  process.stdout.write(
    `tee: ready at ${options.socket}, storage in ${options.storage}${controlled}\n`,
  );
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(USAGE);
  else await serveWorld(options);
}

function fail(cause: unknown): never {
  const isUsage = cause instanceof UsageError;
  const what = cause instanceof Error ? cause.message : String(cause);
  process.stderr.write(`tee: ${what}\n${isUsage ? USAGE : ''}`);
  process.exit(isUsage ? EXIT.USAGE : EXIT.FAILED);
}

main().catch(fail);
