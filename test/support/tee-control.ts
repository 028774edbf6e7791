/** The control socket of a secure world, for tests: test/tee/CONTROL.md. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';

export type ControlLine = Readonly<Record<string, string | number>> & { readonly do: string };

export type ControlReport = Readonly<Record<string, unknown>>;

export class TeeControl {
  readonly #socket: Socket;
  readonly #lines: AsyncIterableIterator<string>;

  private constructor(socket: Socket, lines: Interface) {
    this.#socket = socket;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  static async connect(path: string): Promise<TeeControl> {
    const socket = connect(path);
    await once(socket, 'connect');
    // The world that a test kills takes the connection with it.
    socket.on('error', () => undefined);
    return new TeeControl(socket, createInterface({ input: socket }));
  }

  /**
   * Resolves when it is done: what was asked for holds from the next request of any client on.
   *
   * @throws Error with what the world says when it refuses, or that it has gone
   */
  async ask(line: ControlLine): Promise<ControlReport> {
    this.#socket.write(`${JSON.stringify(line)}\n`);
    const next = await this.#lines.next();
    if (next.done === true) throw new Error(`the secure world ended at ${JSON.stringify(line)}`);
    const { ok, error, ...report } = JSON.parse(next.value) as ControlReport;
    if (ok !== true) throw new Error(String(error));
    return report;
  }

  close(): void {
    this.#socket.destroy();
  }
}
