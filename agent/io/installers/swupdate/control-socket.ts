/** One connection to SWUpdate's control socket: questions, answers, and the messages that follow. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { hardwareOf, MESSAGE, MESSAGE_BYTES, question, typeOf } from './control-messages.ts';

export interface Daemon {
  readonly socketPath: string;
  /** Longest wait for an answer. */
  readonly answerMs: number;
  /** Longest silence during an installation. */
  readonly quietMs: number;
}

export class ControlConnection {
  readonly socket: Socket;
  readonly #messages: AsyncGenerator<Buffer, void>;
  readonly #daemon: Daemon;
  #unanswered: Promise<unknown> | undefined;

  private constructor(socket: Socket, daemon: Daemon) {
    this.socket = socket;
    this.#daemon = daemon;
    this.#messages = messages(socket);
  }

  /** @throws Error saying that the daemon is not there, and what to do */
  static async open(daemon: Daemon): Promise<ControlConnection> {
    const socket = connect(daemon.socketPath);
    // Errors of writing are told by what is read, or not.
    socket.on('error', () => undefined);
    try {
      await new Promise((resolve, reject) => {
        socket.once('connect', resolve).once('error', reject);
      });
      return new ControlConnection(socket, daemon);
    } catch (error) {
      socket.destroy();
      const what = `SWUpdate cannot be reached: ${error instanceof Error ? error.message : String(error)}`;
      const remedy = 'start its daemon, or set installer.swupdate_socket to its control socket';
      throw new Error(`${what}; ${remedy}`, { cause: error });
    }
  }

  /** @throws Error if the daemon hangs, or speaks another protocol */
  async ask(message: Buffer): Promise<Buffer> {
    const { socketPath, answerMs } = this.#daemon;
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort();
    }, answerMs);
    // In one piece: the daemon refuses what arrives in two.
    this.socket.write(message);
    const asked = this.next();
    this.#unanswered = asked;
    const answer = await Promise.race([asked, once(late.signal, 'abort')]);
    clearTimeout(timer);
    if (Array.isArray(answer)) {
      const seconds = String(answerMs / 1000);
      throw new Error(`SWUpdate at ${socketPath} did not answer within ${seconds} s: restart it`);
    }
    this.#unanswered = undefined;
    if (answer !== undefined && typeOf(answer) !== undefined) return answer;
    throw new Error(
      `${socketPath} does not speak SWUpdate's control protocol of 2022.12 to 2024.12 (64-bit): use such a release`,
    );
  }

  /** @returns the next message; `undefined` when the connection has ended */
  async next(): Promise<Buffer | undefined> {
    const { value } = await this.#messages.next();
    return value ?? undefined;
  }

  /** An answer that comes late finds an open socket: without one it would kill the daemon (SIGPIPE). */
  close(): void {
    if (this.#unanswered === undefined) {
      this.socket.destroy();
      return;
    }
    this.socket.unref();
    void this.#unanswered.finally(() => this.socket.destroy());
  }
}

/**
 * `BOARD:REVISION`, without which SWUpdate would refuse every image.
 *
 * A board's name is a path to SWUpdate: parts of the description that we do not read could apply.
 *
 * @throws Error if there is no SWUpdate, or none that can be used
 */
export async function askHardware(daemon: Daemon): Promise<string> {
  const connection = await ControlConnection.open(daemon);
  try {
    const answer = await connection.ask(question(MESSAGE.hardwareRevision));
    if (typeOf(answer) !== MESSAGE.accepted) {
      throw new Error(
        'SWUpdate does not know its hardware: start its daemon with -H BOARD:REVISION',
      );
    }
    const hardware = hardwareOf(answer);
    if (!/[./].*:|:.*:/u.test(hardware)) return hardware;
    throw new Error(`SWUpdate's hardware is ${hardware}: want a board without ".", "/" and ":"`);
  } finally {
    connection.close();
  }
}

/** Whole messages; ends where the daemon does, whatever it left unfinished. */
async function* messages(socket: Socket): AsyncGenerator<Buffer, void> {
  let received = Buffer.alloc(0);
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk]);
      while (received.byteLength >= MESSAGE_BYTES) {
        yield received.subarray(0, MESSAGE_BYTES);
        received = received.subarray(MESSAGE_BYTES);
      }
    }
  } catch {
    // A connection that breaks is one that ends.
  }
}
