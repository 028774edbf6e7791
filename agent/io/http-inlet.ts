/**
 * What a connection receives, in memory that is fixed.
 *
 * A socket of Node makes a buffer for every read. For an image they are more work than TLS is, and
 * garbage that a small device has to have room for. Here there is one buffer to read into, one that
 * fills, and one that is being looked at.
 */
import type { OnReadOpts, Socket } from 'node:net';

import { HttpFailure } from './http-failure.ts';

const READ_BYTES = 64 * 1024;
/** From here on the connection waits. */
const PIECE_BYTES = 512 * 1024;
/** TLS cannot hold back what it has decrypted: one read, and the record that it completed. */
const SLACK_BYTES = 2 * READ_BYTES;

export class Inlet {
  /** For `TlsConnector.open`. */
  readonly onread: OnReadOpts = {
    buffer: Buffer.allocUnsafeSlow(READ_BYTES),
    callback: (lengthBytes, buffer) => this.#keep(buffer.subarray(0, lengthBytes)),
  };
  #filling = Buffer.allocUnsafeSlow(PIECE_BYTES + SLACK_BYTES);
  #spare = Buffer.allocUnsafeSlow(PIECE_BYTES + SLACK_BYTES);
  #used = 0;
  #socket: Socket | undefined;
  #end: { readonly error?: Error } | undefined;
  #wake: (() => void) | undefined;

  /** From now on what comes is what was asked for. */
  attach(socket: Socket): void {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      if (!this.#keep(chunk)) socket.pause();
    });
    socket.on('end', () => {
      this.#ended({});
    });
    socket.on('error', (error) => {
      this.#ended({ error });
    });
    socket.on('close', () => {
      this.#ended({});
    });
  }

  /**
   * All that came since the last time, at least one byte; it is valid until the next is asked for.
   *
   * @param late - made if nothing comes for `timeoutMs`
   * @returns `undefined` at the end
   * @throws Error as the connection failed
   */
  async next(timeoutMs: number, late: () => Error): Promise<Uint8Array | undefined> {
    if (this.#used === 0 && this.#end === undefined) await this.#arrival(timeoutMs, late);
    if (this.#used === 0) {
      if (this.#end?.error !== undefined) throw this.#end.error;
      return undefined;
    }
    const piece = this.#filling.subarray(0, this.#used);
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#used = 0;
    this.#socket?.resume();
    return piece;
  }

  /** @returns `false` if nothing more should come for now */
  #keep(bytes: Uint8Array): boolean {
    if (this.#used + bytes.byteLength > this.#filling.byteLength) {
      const what = 'more was received than there is room for';
      this.#socket?.destroy(new HttpFailure('UND_ERR_SOCKET', what));
      return false;
    }
    this.#filling.set(bytes, this.#used);
    this.#used += bytes.byteLength;
    this.#arrived();
    return this.#used < PIECE_BYTES;
  }

  #ended(end: { readonly error?: Error }): void {
    this.#end ??= end;
    this.#arrived();
  }

  /** Not at once: what else there is to read now belongs to the same piece. */
  #arrived(): void {
    if (this.#wake === undefined) return;
    setImmediate(this.#wake);
    this.#wake = undefined;
  }

  async #arrival(timeoutMs: number, late: () => Error): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        timer = setTimeout(() => {
          this.#wake = undefined;
          reject(late());
        }, timeoutMs);
      });
    } finally {
      clearTimeout(timer);
    }
  }
}
