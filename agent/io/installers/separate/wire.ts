/**
 * Frames between the agent and its installer, on a Unix socket: messages in JSON, and plain bytes.
 *
 * A length of four bytes, a kind of one, the content. Both sides bound what they take: neither of them
 * is trusted by the other with its memory.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';

import { Fields, parseJson } from '../../../decode.ts';
import { isFailureCode, OtaError, type AnyOtaError } from '../../../errors.ts';

export type Frame =
  | { readonly kind: 'message'; readonly fields: Fields }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array };

const HEAD_BYTES = 5;
const MAX_BYTES = 1024 * 1024;
const MESSAGE = 0;
const BYTES = 1;

export class Wire {
  readonly #socket: Socket;
  readonly #incoming: AsyncIterator<Buffer>;
  #pending: Buffer[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#incoming = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    // What broke is said to whoever reads or writes next.
    socket.on('error', () => undefined);
  }

  /** Resolves when the other side has hung up, while nobody reads, too. */
  async hungUp(): Promise<void> {
    const closed = once(this.#socket, 'close');
    // An end is noticed by who reads; of nothing, so that nothing is taken from anybody.
    this.#socket.on('readable', () => {
      this.#socket.read(0);
    });
    await closed;
  }

  send(message: object): Promise<void> {
    const text = JSON.stringify(message, (_key, value: unknown) =>
      value instanceof Map ? Object.fromEntries<unknown>(value) : value,
    );
    return this.#write(MESSAGE, Buffer.from(text));
  }

  async sendBytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += MAX_BYTES) {
      await this.#write(BYTES, bytes.subarray(at, at + MAX_BYTES));
    }
  }

  /**
   * @returns `undefined` where the other side has closed
   * @throws OtaError METADATA_MALFORMED for anything that is no frame
   */
  async receive(): Promise<Frame | undefined> {
    const head = await this.#take(HEAD_BYTES);
    if (head === undefined) return undefined;
    const [lengthBytes, kind] = [head.readUInt32BE(0), head[4]];
    if (lengthBytes > MAX_BYTES || (kind !== MESSAGE && kind !== BYTES)) throw noFrame();
    const content = await this.#take(lengthBytes);
    if (content === undefined) return undefined;
    if (kind === BYTES) return { kind: 'bytes', bytes: content };
    return { kind: 'message', fields: new Fields(parseJson(content, 'message'), 'message') };
  }

  /** While nothing is asked, a connection keeps no process from ending. */
  hold(isNeeded: boolean): void {
    if (isNeeded) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    this.#socket.destroy();
  }

  async #take(bytes: number): Promise<Buffer | undefined> {
    let found = this.#pending.reduce((sum, { byteLength }) => sum + byteLength, 0);
    while (found < bytes) {
      // However it ends: who hung up says no more.
      const next = await this.#incoming.next().catch(() => undefined);
      if (next === undefined || next.done === true) return undefined;
      this.#pending.push(next.value);
      found += next.value.byteLength;
    }
    const all = Buffer.concat(this.#pending);
    this.#pending = found > bytes ? [all.subarray(bytes)] : [];
    return all.subarray(0, bytes);
  }

  #write(kind: number, content: Uint8Array): Promise<void> {
    const frame = Buffer.alloc(HEAD_BYTES + content.byteLength);
    frame.writeUInt32BE(content.byteLength, 0);
    frame[4] = kind;
    frame.set(content, HEAD_BYTES);
    return new Promise((resolve, reject) => {
      this.#socket.write(frame, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }
}

/** @throws OtaError METADATA_MALFORMED for bytes where a message has to be */
export function messageIn(frame: Frame): Fields {
  if (frame.kind === 'message') return frame.fields;
  throw noFrame();
}

export function failureMessage({ code, details }: AnyOtaError): object {
  return { say: 'failed', code, details };
}

/** A failure as the other side has told it. */
export function failureIn(fields: Fields): OtaError {
  const code = fields.string('code');
  if (!isFailureCode(code)) throw noFrame();
  const details = Object.fromEntries(fields.object('details').entries());
  return new OtaError(code, details as never);
}

function noFrame(): OtaError<'METADATA_MALFORMED'> {
  const want = 'a frame of the protocol: agent and installer have to be of one version';
  return new OtaError('METADATA_MALFORMED', { path: 'installer socket', want });
}
