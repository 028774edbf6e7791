/** The control socket: a line of JSON in, a line of JSON out, in order. */
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

import { ControlFailure, parseCommand, type ControlCommand } from './command.ts';
import type { Report } from './control.ts';

/** A server that is not listening yet. @param run - throws ControlFailure */
export function createControlServer(run: (command: ControlCommand) => Report): Server {
  return createServer((socket) => {
    // A test that is killed resets its connection; 'close' follows, and there is nothing to do.
    socket.on('error', () => undefined);
    createInterface({ input: socket }).on('line', (line) => {
      answer(socket, line, run);
    });
  });
}

function answer(socket: Socket, line: string, run: (command: ControlCommand) => Report): void {
  try {
    const report = run(parseCommand(line));
    socket.write(`${JSON.stringify({ ok: true, ...report })}\n`);
  } catch (cause) {
    if (!(cause instanceof ControlFailure)) throw cause;
    socket.write(`${JSON.stringify({ ok: false, error: cause.message })}\n`);
  }
}
