/**
 * The bytes between the worlds: test/tee/WIRE.md, mirrored by normal-world/wire.h.
 *
 * Nothing here interprets a request. What cannot be parsed to the last byte is `undefined`, and the
 * connection it came from is closed: after one bad frame no later boundary can be trusted.
 */
import { Memory, PARAM, typeAt, type Operation, type Parameter } from './operation.ts';

export const PROTOCOL_VERSION = 1;
export const HEADER_BYTES = 12;
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
const ANSWER_BIT = 0x8000;
const NOTHING = new Uint8Array();
/** NGROUPS_MAX of Linux: no honest process is in more groups. */
const MAX_GROUPS = 65536;

export const OPCODE = {
  HELLO: 1,
  OPEN_SESSION: 2,
  CLOSE_SESSION: 3,
  INVOKE: 4,
  CANCEL: 5,
} as const;

export interface Frame {
  readonly request: number;
  readonly opcode: number;
  readonly body: Uint8Array;
}

/** What the client library says about its process. Claimed, not proven: README.md. */
export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

export type Request =
  | { readonly at: 'hello'; readonly version: number; readonly credentials: Credentials }
  | {
      readonly at: 'open';
      readonly uuid: string;
      readonly login: number;
      readonly loginData: number;
      readonly operation: Operation;
    }
  | { readonly at: 'close'; readonly session: number }
  | {
      readonly at: 'invoke';
      readonly session: number;
      readonly command: number;
      readonly operation: Operation;
    }
  | { readonly at: 'cancel'; readonly request: number };

function asBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A cursor over received bytes. `failed` latches: check it once, at the end. */
export class WireReader {
  readonly #bytes: Buffer;
  #offset = 0;
  #failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes);
  }

  /** @returns 0 once failed */
  u32(): number {
    const at = this.#take(4);
    return this.#failed ? 0 : this.#bytes.readUInt32LE(at);
  }

  /** A view, not a copy. @returns nothing once failed */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#failed ? NOTHING : this.#bytes.subarray(at, at + length);
  }

  fail(): void {
    this.#failed = true;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** Nothing failed and nothing is left. */
  isComplete(): boolean {
    return !this.#failed && this.#offset === this.#bytes.byteLength;
  }

  #take(length: number): number {
    const at = this.#offset;
    if (this.#failed || length > this.#bytes.byteLength - at) {
      this.#failed = true;
      return at;
    }
    this.#offset = at + length;
    return at;
  }
}

/** Cuts a byte stream into frames. A chunk of whole frames is read where it lies. */
export class FrameSplitter {
  /** Room for the frame that is not complete; it grows with what has come, not with what is announced. */
  #held = Buffer.alloc(0);
  #heldBytes = 0;
  #wantedBytes = HEADER_BYTES;

  /** Bytes of the frame that is not complete. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * @returns the frames that `chunk` completes, or `undefined` when the stream is not ours: too
   *   long a frame would make us hold memory for a client that never finishes it
   */
  push(chunk: Uint8Array): readonly Frame[] | undefined {
    const joined = this.#heldBytes === 0 ? asBuffer(chunk) : this.#append(chunk);
    if (joined.byteLength < this.#wantedBytes) {
      if (this.#heldBytes === 0) this.#append(chunk);
      return [];
    }
    const frames: Frame[] = [];
    let at = 0;
    for (;;) {
      const next = readFrame(joined.subarray(at));
      if (next === undefined) return undefined;
      if (typeof next === 'number') {
        this.#wantedBytes = next;
        break;
      }
      frames.push(next);
      at += HEADER_BYTES + next.body.byteLength;
    }
    // The frames lie in it: what comes next needs room of its own.
    this.#held = Buffer.alloc(0);
    this.#heldBytes = 0;
    if (at < joined.byteLength) this.#append(joined.subarray(at));
    return frames;
  }

  /** Doubles when it is full: a frame that comes byte by byte costs no more than its bytes. */
  #append(chunk: Uint8Array): Buffer {
    const bytes = this.#heldBytes + chunk.byteLength;
    if (bytes > this.#held.byteLength) {
      const larger = Buffer.allocUnsafe(Math.max(bytes, 2 * this.#held.byteLength));
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#held.set(chunk, this.#heldBytes);
    this.#heldBytes = bytes;
    return this.#held.subarray(0, bytes);
  }
}

/** @returns a frame, or how many bytes are needed to go on, or `undefined` for a bad header */
function readFrame(bytes: Buffer): Frame | number | undefined {
  if (bytes.byteLength < HEADER_BYTES) return HEADER_BYTES;
  const length = bytes.readUInt32LE(0);
  if (length > MAX_BODY_BYTES || bytes.readUInt16LE(10) !== 0) return undefined;
  if (bytes.byteLength < HEADER_BYTES + length) return HEADER_BYTES + length;
  return {
    request: bytes.readUInt32LE(4),
    opcode: bytes.readUInt16LE(8),
    body: bytes.subarray(HEADER_BYTES, HEADER_BYTES + length),
  };
}

export function decodeRequest(frame: Frame): Request | undefined {
  const reader = new WireReader(frame.body);
  const request = readRequest(frame.opcode, reader);
  return reader.isComplete() ? request : undefined;
}

function readRequest(opcode: number, reader: WireReader): Request | undefined {
  switch (opcode) {
    case OPCODE.HELLO:
      return { at: 'hello', version: reader.u32(), credentials: readCredentials(reader) };
    case OPCODE.OPEN_SESSION:
      return {
        at: 'open',
        uuid: uuidText(reader.bytes(16)),
        login: reader.u32(),
        loginData: reader.u32(),
        operation: readOperation(reader),
      };
    case OPCODE.CLOSE_SESSION:
      return { at: 'close', session: reader.u32() };
    case OPCODE.INVOKE:
      return {
        at: 'invoke',
        session: reader.u32(),
        command: reader.u32(),
        operation: readOperation(reader),
      };
    case OPCODE.CANCEL:
      return { at: 'cancel', request: reader.u32() };
    default:
      return undefined;
  }
}

function readCredentials(reader: WireReader): Credentials {
  const pid = reader.u32();
  const uid = reader.u32();
  const gid = reader.u32();
  const count = reader.u32();
  if (count > MAX_GROUPS) reader.fail();
  const groups: number[] = [];
  for (let i = 0; i < count && !reader.failed; i += 1) groups.push(reader.u32());
  return { pid, uid, gid, groups };
}

function readOperation(reader: WireReader): Operation {
  const types = reader.u32();
  if (types > 0xffff) reader.fail();
  const at = (index: number): Parameter => readParameter(typeAt(types, index), reader);
  return { types, parameters: [at(0), at(1), at(2), at(3)] };
}

function readParameter(type: number, reader: WireReader): Parameter {
  switch (type) {
    case PARAM.NONE:
      return { kind: 'none' };
    case PARAM.VALUE_OUTPUT:
      return { kind: 'value', a: 0, b: 0 };
    case PARAM.VALUE_INPUT:
    case PARAM.VALUE_INOUT:
      return { kind: 'value', a: reader.u32(), b: reader.u32() };
    case PARAM.MEMREF_INPUT:
    case PARAM.MEMREF_OUTPUT:
    case PARAM.MEMREF_INOUT:
      return readMemory(type !== PARAM.MEMREF_OUTPUT, reader);
    default:
      reader.fail();
      return { kind: 'none' };
  }
}

function readMemory(isSent: boolean, reader: WireReader): Memory {
  const present = reader.u32();
  const size = reader.u32();
  if (present > 1 || (present === 0 && size !== 0)) reader.fail();
  return new Memory(isSent ? reader.bytes(size) : NOTHING, size, present === 0);
}

export function encodeAnswer(frame: Frame, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + length);
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt32LE(frame.request, 4);
  // The upper half is the field that must be zero.
  let at = bytes.writeUInt32LE(frame.opcode | ANSWER_BIT, 8);
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

export function u32s(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  let at = 0;
  for (const value of values) at = bytes.writeUInt32LE(value >>> 0, at);
  return bytes;
}

/** The OPERATION of an answer: what the client reads back. */
export function encodeOperation({ types, parameters }: Operation): Buffer {
  const outputs = parameters.map((parameter, index) => outputOf(parameter, typeAt(types, index)));
  const size = outputs.reduce((sum, output) => sum + outputBytes(output), 4);
  const bytes = Buffer.allocUnsafe(size);
  let at = bytes.writeUInt32LE(types, 0);
  for (const output of outputs) {
    if (output === undefined) continue;
    at = bytes.writeUInt32LE(output.first >>> 0, at);
    at = bytes.writeUInt32LE(output.second >>> 0, at);
    bytes.set(output.bytes, at);
    at += output.bytes.byteLength;
  }
  return bytes;
}

/** Two numbers, and the memory that follows them. */
interface Output {
  readonly first: number;
  readonly second: number;
  readonly bytes: Uint8Array;
}

function outputOf(parameter: Parameter, type: number): Output | undefined {
  if (parameter.kind === 'value' && type !== PARAM.VALUE_INPUT) {
    return { first: parameter.a, second: parameter.b, bytes: NOTHING };
  }
  if (parameter.kind === 'memory' && type !== PARAM.MEMREF_INPUT) {
    const bytes = parameter.output ?? untouched(parameter);
    return { first: parameter.size, second: bytes.byteLength, bytes };
  }
  return undefined;
}

function outputBytes(output: Output | undefined): number {
  return output === undefined ? 0 : 8 + output.bytes.byteLength;
}

/** Memory the TA left alone reads back as it was sent; output-only memory starts as zeros. */
function untouched(memory: Memory): Uint8Array {
  if (memory.size > memory.capacityBytes) return NOTHING;
  if (memory.input.byteLength > 0) return memory.input.subarray(0, memory.size);
  return new Uint8Array(memory.size);
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
