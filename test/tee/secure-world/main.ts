/**
 * The secure world as a process: opens storage, loads the TAs, serves the socket.
 *
 * Composition only. It prints one line when it is ready and one when a TA panics, and never anything
 * that a TA holds.
 */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import type { Server, Socket } from 'node:net';

import type { Board } from './board.ts';
import { ControlFailure, type ControlCommand } from './control/command.ts';
import { createControlServer } from './control/control-server.ts';
import { Control, type Report } from './control/control.ts';
import { readOptions, USAGE, UsageError, type Options } from './options.ts';
import { startBoard } from './start-board.ts';
import { TaPanic } from './ta.ts';
import { listenAt } from './world/listen.ts';
import { createWorldServer } from './world/server.ts';

const EXIT = { FAILED: 1, USAGE: 2 } as const;

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
  const control = options.controlSocket === undefined ? undefined : new Control();
  const board = await startBoard(options, control, reportPanic);
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
