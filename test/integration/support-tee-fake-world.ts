/**
 * A secure world that does what a test tells it: frames of test/tee/WIRE.md over a Unix socket.
 *
 * It knows the frames and nothing of TAs, and shares no code with the emulator: what the C side sends
 * is compared with literal bytes, not with another reading of the same page.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

import { temporaryDirectory } from '../support/temporary.ts';

export const HELLO = 1;
export const OPEN_SESSION = 2;
export const CLOSE_SESSION = 3;
export const INVOKE = 4;
export const CANCEL = 5;

const HEADER_BYTES = 12;
const ANSWER = 0x8000;

export interface Frame {
  /** Which connection it came on, from 0. */
  readonly connection: number;
  readonly request: number;
  readonly opcode: number;
  readonly payload: Buffer;
  /** Header and payload. */
  readonly bytes: Buffer;
}

/** The payload of an answer, bytes to send as they are, or what to do instead. */
export type Reply =
  | Buffer
  | { readonly raw: Buffer; readonly then?: 'end' }
  | { readonly byteByByte: Buffer }
  | 'close'
  | 'say nothing';

export const u32 = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32LE(value >>> 0, 4 * index));
  return bytes;
};

/** A whole frame. */
export const frame = (request: number, opcode: number, payload: Buffer): Buffer =>
  Buffer.concat([u32(payload.length, request, opcode), payload]);

export const answerTo = (asked: Frame, payload: Buffer): Buffer =>
  frame(asked.request, asked.opcode | ANSWER, payload);

/** A parameter of a request; `room` is a memory reference's size, `bytes` what was sent of it. */
export interface Param {
  readonly type: number;
  readonly room: number;
  readonly bytes: Buffer;
}

const VALUE_OUTPUT = 2;
const VALUE_INOUT = 3;
const MEMREF_INPUT = 5;
const MEMREF_OUTPUT = 6;
const NOTHING = Buffer.alloc(0);

/** Where the OPERATION begins in the payload of a request. */
const operationAt = (asked: Frame): number => (asked.opcode === OPEN_SESSION ? 24 : 8);

export function readParams(asked: Frame): readonly Param[] {
  const { payload } = asked;
  let at = operationAt(asked) + 4;
  const types = payload.readUInt32LE(at - 4);
  const take = (size: number): Buffer => {
    at += size;
    return payload.subarray(at - size, at);
  };
  return [0, 4, 8, 12].map((shift) => {
    const type = (types >>> shift) & 15;
    if (type === 0 || type === VALUE_OUTPUT) return { type, room: 0, bytes: NOTHING };
    if (type < MEMREF_INPUT) return { type, room: 0, bytes: take(8) };
    const room = take(8).readUInt32LE(4);
    return { type, room, bytes: type === MEMREF_OUTPUT ? NOTHING : take(room) };
  });
}

/** What an answer leaves in a parameter; `size` is what the TA says when it is not that of `bytes`. */
export interface Left {
  readonly bytes: Buffer;
  readonly size?: number;
}

function writeParam({ type, room }: Param, left: Left | undefined): Buffer {
  const bytes = left?.bytes ?? NOTHING;
  if (type === VALUE_OUTPUT || type === VALUE_INOUT) return left ? bytes : Buffer.alloc(8);
  if (type <= MEMREF_INPUT) return NOTHING;
  const size = left?.size ?? bytes.length;
  return size > room ? u32(size, 0) : Buffer.concat([u32(size, bytes.length), bytes]);
}

/** The OPERATION that answers the one in `asked`, which has one entry of `left` for each parameter. */
export function answerOperation(asked: Frame, left: readonly (Left | undefined)[] = []): Buffer {
  const at = operationAt(asked);
  return Buffer.concat([
    asked.payload.subarray(at, at + 4),
    ...readParams(asked).map((param, index) => writeParam(param, left[index])),
  ]);
}

/** Opens every session as number 7 and succeeds at everything, leaving nothing. */
export function plainReply(asked: Frame): Reply {
  switch (asked.opcode) {
    case HELLO:
      return u32(1);
    case OPEN_SESSION:
      return Buffer.concat([u32(0, 4, 7), answerOperation(asked)]);
    case CLOSE_SESSION:
      return u32(0);
    case INVOKE:
      return Buffer.concat([u32(0, 4), answerOperation(asked)]);
    default:
      return 'say nothing';
  }
}

export class FakeWorld {
  readonly frames: Frame[] = [];
  readonly socketPath: string;
  reply: (asked: Frame) => Reply = plainReply;
  /** A connection that sends a longer frame is closed in the middle of it. */
  maxFrameBytes = Number.POSITIVE_INFINITY;
  readonly #directory = temporaryDirectory('fake-tee');
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #connections = 0;

  constructor() {
    this.socketPath = join(this.#directory.path, 'socket');
    this.#server = createServer((socket) => {
      this.#serve(socket);
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(this.socketPath);
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
    this.#directory.remove();
  }

  /** Resolves when every connection has ended, so that all frames are here. */
  async drained(): Promise<void> {
    await Promise.all([...this.#sockets].map((socket) => once(socket, 'close')));
  }

  #serve(socket: Socket): void {
    const connection = this.#connections;
    this.#connections += 1;
    this.#sockets.add(socket);
    let received = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      for (let asked = readFrame(received, connection); asked;) {
        received = received.subarray(asked.bytes.length);
        this.#answer(socket, asked);
        asked = readFrame(received, connection);
      }
      if (received.length > this.maxFrameBytes) socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #answer(socket: Socket, asked: Frame): void {
    this.frames.push(asked);
    const reply = this.reply(asked);
    if (reply === 'say nothing') return;
    if (reply === 'close') {
      socket.destroy();
      return;
    }
    if ('byteByByte' in reply) {
      trickle(socket, answerTo(asked, reply.byteByByte));
      return;
    }
    const bytes = 'raw' in reply ? reply.raw : answerTo(asked, reply);
    if ('raw' in reply && reply.then === 'end') socket.end(bytes);
    else socket.write(bytes);
  }
}

/** Each byte in a write of its own, which the receiver sees alone. */
function trickle(socket: Socket, bytes: Buffer): void {
  if (bytes.length === 0) return;
  socket.write(bytes.subarray(0, 1), () => {
    setImmediate(trickle, socket, bytes.subarray(1));
  });
}

function readFrame(received: Buffer, connection: number): Frame | undefined {
  if (received.length < HEADER_BYTES) return undefined;
  const lengthBytes = HEADER_BYTES + received.readUInt32LE(0);
  if (received.length < lengthBytes) return undefined;
  return {
    connection,
    request: received.readUInt32LE(4),
    opcode: received.readUInt32LE(8),
    payload: received.subarray(HEADER_BYTES, lengthBytes),
    bytes: received.subarray(0, lengthBytes),
  };
}
