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

/** A cursor over received bytes. `failed` latches: check it once, at the end. */
export class WireReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;
  #failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** @returns 0 once failed */
  u32(): number {
    const at = this.#take(4);
    return this.#failed ? 0 : this.#view.getUint32(at, true);
  }

  /** A view, not a copy. @returns nothing once failed */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#failed ? new Uint8Array() : this.#bytes.subarray(at, at + length);
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

/** Cuts a byte stream into frames. Joins chunks once per frame, not once per chunk. */
export class FrameSplitter {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #wantedBytes = HEADER_BYTES;

  /** Bytes of the frame that is not complete. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /**
   * @returns the frames that `chunk` completes, or `undefined` when the stream is not ours: too
   *   long a frame would make us hold memory for a client that never finishes it
   */
  push(chunk: Uint8Array): readonly Frame[] | undefined {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes < this.#wantedBytes) return [];
    const joined = Buffer.concat(this.#chunks, this.#bytes);
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
    // A copy: the few bytes that are left must not keep all that came before them.
    this.#chunks = at === joined.byteLength ? [] : [Buffer.from(joined.subarray(at))];
    this.#bytes = joined.byteLength - at;
    return frames;
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
  return new Memory(isSent ? reader.bytes(size) : new Uint8Array(), size, present === 0);
}

export function encodeAnswer(frame: Frame, ...parts: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  header.writeUInt32LE(length, 0);
  header.writeUInt32LE(frame.request, 4);
  header.writeUInt16LE(frame.opcode | ANSWER_BIT, 8);
  return Buffer.concat([header, ...parts], HEADER_BYTES + length);
}

export function u32s(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32LE(value >>> 0, 4 * index));
  return bytes;
}

/** The OPERATION of an answer: what the client reads back. */
export function encodeOperation({ types, parameters }: Operation): Buffer {
  const parts: Uint8Array[] = [u32s(types)];
  parameters.forEach((parameter, index) => {
    const type = typeAt(types, index);
    if (parameter.kind === 'value' && type !== PARAM.VALUE_INPUT) {
      parts.push(u32s(parameter.a, parameter.b));
    } else if (parameter.kind === 'memory' && type !== PARAM.MEMREF_INPUT) {
      parts.push(...memoryParts(parameter));
    }
  });
  return Buffer.concat(parts);
}

function memoryParts(memory: Memory): readonly Uint8Array[] {
  const bytes = memory.output ?? untouched(memory);
  return [u32s(memory.size, bytes.byteLength), bytes];
}

/** Memory the TA left alone reads back as it was sent; output-only memory starts as zeros. */
function untouched(memory: Memory): Uint8Array {
  if (memory.size > memory.capacityBytes) return new Uint8Array();
  if (memory.input.byteLength > 0) return memory.input.subarray(0, memory.size);
  return new Uint8Array(memory.size);
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
