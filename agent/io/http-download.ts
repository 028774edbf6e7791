/**
 * A GET of something large, over a connection of its own: HTTP/1.1 as far as images need it.
 *
 * Strict: an answer that can be read in two ways is none. Source: RFC 9112 §4 to §7.
 */
import type { Socket } from 'node:net';

import { HttpFailure } from './http-failure.ts';
import type { Inlet } from './http-inlet.ts';

const HEAD_BYTES = 16 * 1024;
const CHUNK_HEAD_BYTES = 1024;
const LF = 0x0a;

class MalformedAnswer extends Error {
  readonly code = 'HPE_INVALID';
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Each piece is valid until the next is asked for. */
  readonly body: AsyncGenerator<Uint8Array>;
}

/** @throws HttpFailure as undici would; MalformedAnswer */
export async function askFor(
  url: URL,
  headers: Readonly<Record<string, string>>,
  { socket, inlet, timeoutMs }: { socket: Socket; inlet: Inlet; timeoutMs: number },
): Promise<Answer> {
  inlet.attach(socket);
  const fields = Object.entries({ host: url.host, connection: 'close', ...headers });
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines}\r\n`, 'latin1');
  const received = new Received(inlet, timeoutMs);
  try {
    const head = await readHead(received);
    return { ...head, body: closing(socket, bodyOf(head, received)) };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

type Head = Omit<Answer, 'body'>;

async function readHead(received: Received): Promise<Head> {
  for (;;) {
    const status = /^HTTP\/1\.[01] ([1-9]\d\d)(?: |$)/u.exec(await received.headLine())?.[1];
    if (status === undefined) throw malformed('it does not begin as an answer of HTTP/1.1');
    const headers = await readFields(received);
    // What is said on the way to an answer (100, 103) is none.
    if (Number(status) >= 200) return { status: Number(status), headers };
  }
}

async function readFields(received: Received): Promise<Head['headers']> {
  const fields = new Map<string, string | string[]>();
  for (let line = await received.headLine(); line !== ''; line = await received.headLine()) {
    const [, field = '', value = ''] =
      /^([\w!#$%&'*+.^`|~-]+):[ \t]*(.*?)[ \t]*$/u.exec(line) ?? [];
    if (field === '') throw malformed('a header field has no name');
    const name = field.toLowerCase();
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : [before, value].flat());
  }
  return Object.fromEntries(fields);
}

function bodyOf({ status, headers }: Head, received: Received): AsyncGenerator<Uint8Array> {
  const length = headers['content-length'];
  const coding = headers['transfer-encoding'];
  if (status === 204 || status === 304) return received.body(0);
  if (coding !== undefined) {
    if (typeof coding !== 'string' || coding.toLowerCase() !== 'chunked' || length !== undefined) {
      throw malformed('its transfer-encoding is not chunked alone');
    }
    return chunks(received);
  }
  if (length === undefined) return received.untilClosed();
  if (typeof length !== 'string' || !/^\d{1,15}$/u.test(length)) {
    throw malformed('its content-length is no number');
  }
  return received.body(Number(length));
}

async function* chunks(received: Received): AsyncGenerator<Uint8Array> {
  for (;;) {
    // Extensions, which nobody uses, mean nothing to those who do not know them.
    const size = /^([\da-f]{1,12})[ \t]*(?:;|$)/iu.exec(await received.line(CHUNK_HEAD_BYTES))?.[1];
    if (size === undefined) throw malformed('a chunk has no size');
    if (Number.parseInt(size, 16) === 0) break;
    yield* received.body(Number.parseInt(size, 16));
    if ((await received.line(CHUNK_HEAD_BYTES)) !== '') throw malformed('a chunk has no end');
  }
  let trailerBytes = 0;
  for (let line = '-'; line !== ''; trailerBytes += line.length) {
    if (trailerBytes > HEAD_BYTES) throw malformed('its trailer is too long');
    line = await received.line(CHUNK_HEAD_BYTES);
  }
}

async function* closing(
  socket: Socket,
  body: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let isWhole = false;
  try {
    yield* body;
    isWhole = true;
  } finally {
    if (isWhole) socket.destroySoon();
    else socket.destroy();
  }
}

/** Lines and lengths from the pieces that an inlet hands out. */
class Received {
  readonly #inlet: Inlet;
  readonly #timeoutMs: number;
  readonly #headDeadlineMs: number;
  #headBytes = 0;
  #piece: Uint8Array = new Uint8Array();

  constructor(inlet: Inlet, timeoutMs: number) {
    this.#inlet = inlet;
    this.#timeoutMs = timeoutMs;
    this.#headDeadlineMs = performance.now() + timeoutMs;
  }

  async headLine(): Promise<string> {
    const line = await this.#lineWithin(HEAD_BYTES - this.#headBytes, () => {
      const leftMs = Math.max(this.#headDeadlineMs - performance.now(), 0);
      return this.#inlet.next(
        leftMs,
        () => new HttpFailure('UND_ERR_HEADERS_TIMEOUT', 'Headers Timeout Error'),
      );
    });
    this.#headBytes += line.length + 2;
    return line;
  }

  line(maxBytes: number): Promise<string> {
    return this.#lineWithin(maxBytes, () => this.#next());
  }

  /** @throws Error if the connection ends before */
  async *body(lengthBytes: number): AsyncGenerator<Uint8Array> {
    for (let left = lengthBytes; left > 0;) {
      if (this.#piece.byteLength === 0) this.#piece = (await this.#next()) ?? ended();
      const part = this.#piece.subarray(0, left);
      this.#piece = this.#piece.subarray(part.byteLength);
      left -= part.byteLength;
      yield part;
    }
  }

  async *untilClosed(): AsyncGenerator<Uint8Array> {
    for (let piece: Uint8Array | undefined = this.#piece; piece; piece = await this.#next()) {
      if (piece.byteLength > 0) yield piece;
    }
  }

  #next(): Promise<Uint8Array | undefined> {
    return this.#inlet.next(
      this.#timeoutMs,
      () => new HttpFailure('UND_ERR_BODY_TIMEOUT', 'Body Timeout Error'),
    );
  }

  async #lineWithin(
    maxBytes: number,
    more: () => Promise<Uint8Array | undefined>,
  ): Promise<string> {
    let text = '';
    for (;;) {
      const at = this.#piece.indexOf(LF);
      const part = this.#piece.subarray(0, at < 0 ? undefined : at + 1);
      this.#piece = this.#piece.subarray(part.byteLength);
      if (text.length + part.byteLength > maxBytes) throw malformed('a line of it is too long');
      text += Buffer.from(part).toString('latin1');
      if (at >= 0) {
        if (!text.endsWith('\r\n')) throw malformed('a line of it ends without a return');
        return text.slice(0, -2);
      }
      this.#piece = (await more()) ?? ended();
    }
  }
}

function ended(): never {
  throw new HttpFailure('UND_ERR_SOCKET', 'other side closed');
}

function malformed(problem: string): MalformedAnswer {
  return new MalformedAnswer(`the answer is not HTTP: ${problem}`);
}
