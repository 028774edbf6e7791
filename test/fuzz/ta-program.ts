/**
 * What two clients ask of the PKCS#11 TA, one call after another, as bytes and back.
 *
 * Any bytes are a program: what is cut short is taken as far as it goes.
 */
import { Memory, PARAM, packTypes, typeAt } from '../tee/secure-world/world/operation.ts';
import type { Operation, Parameter } from '../tee/secure-world/world/operation.ts';

/** 0: a token with PINs and nothing in it. 1: one with something of everything, in use. */
export type Fixture = 0 | 1;

export interface Program {
  readonly fixture: Fixture;
  /** Which write to storage fails, counted from 1; 0 for none. */
  readonly failingWrite: number;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly client: 0 | 1;
  readonly command: number;
  /** Parameter types as the world packs them. */
  readonly types: number;
  readonly roomBytes: number;
  readonly control: Uint8Array;
  readonly input: Uint8Array | 'last output';
  /** What parameter 2 is when it is an input. */
  readonly signature: Uint8Array | 'last output';
}

export const SHAPES = {
  plain: packTypes(PARAM.MEMREF_INOUT, 0, 0, 0),
  in: packTypes(PARAM.MEMREF_INOUT, PARAM.MEMREF_INPUT, 0, 0),
  out: packTypes(PARAM.MEMREF_INOUT, 0, PARAM.MEMREF_OUTPUT, 0),
  inOut: packTypes(PARAM.MEMREF_INOUT, PARAM.MEMREF_INPUT, PARAM.MEMREF_OUTPUT, 0),
  signature: packTypes(PARAM.MEMREF_INOUT, 0, PARAM.MEMREF_INPUT, 0),
  inSignature: packTypes(PARAM.MEMREF_INOUT, PARAM.MEMREF_INPUT, PARAM.MEMREF_INPUT, 0),
} as const;

const MAX_STEPS = 64;
const MAX_PART_BYTES = 0x3fff;
const INPUT_IS_OUTPUT = 2;
const SIGNATURE_IS_OUTPUT = 4;
const NONE = { kind: 'none' } as const;

export function encodeProgram({ fixture, failingWrite, steps }: Program): Uint8Array {
  return Uint8Array.from(
    Buffer.concat([Buffer.of(fixture, failingWrite), ...steps.map(encodeStep)]),
  );
}

export function decodeProgram(bytes: Uint8Array): Program {
  const reader = new Reader(bytes);
  const fixture: Fixture = (reader.number(1) & 1) === 0 ? 0 : 1;
  const failingWrite = reader.number(1);
  const steps: Step[] = [];
  while (!reader.isAtEnd && steps.length < MAX_STEPS) steps.push(readStep(reader));
  return { fixture, failingWrite, steps };
}

/** @param lastOutput - what the client was given before */
export function operationOf(step: Step, lastOutput: Uint8Array): Operation {
  const input = step.input === 'last output' ? lastOutput : step.input;
  const signature = step.signature === 'last output' ? lastOutput : step.signature;
  const sent = [step.control, input, signature, input];
  const at = (index: number): Parameter => {
    const bytes = sent[index] ?? new Uint8Array();
    switch (typeAt(step.types, index)) {
      case PARAM.NONE:
        return NONE;
      case PARAM.VALUE_INPUT:
      case PARAM.VALUE_OUTPUT:
      case PARAM.VALUE_INOUT:
        return { kind: 'value', a: step.roomBytes, b: index };
      case PARAM.MEMREF_OUTPUT:
        return new Memory(new Uint8Array(), step.roomBytes, false);
      default:
        return new Memory(bytes, bytes.byteLength, false);
    }
  };
  return { types: step.types, parameters: [at(0), at(1), at(2), at(3)] };
}

function encodeStep(step: Step): Buffer {
  const { client, command, types, roomBytes, control, input, signature } = step;
  const flags =
    client |
    (input === 'last output' ? INPUT_IS_OUTPUT : 0) |
    (signature === 'last output' ? SIGNATURE_IS_OUTPUT : 0);
  const head = Buffer.alloc(6);
  head.writeUInt8(flags, 0);
  head.writeUInt8(command, 1);
  head.writeUInt16LE(types, 2);
  head.writeUInt16LE(roomBytes, 4);
  const bytes = (value: Uint8Array | 'last output'): Buffer =>
    counted(value === 'last output' ? new Uint8Array() : value);
  return Buffer.concat([head, counted(control), bytes(input), bytes(signature)]);
}

function counted(bytes: Uint8Array): Buffer {
  const part = bytes.subarray(0, MAX_PART_BYTES);
  const head = Buffer.alloc(2);
  head.writeUInt16LE(part.byteLength);
  return Buffer.concat([head, part]);
}

function readStep(reader: Reader): Step {
  const flags = reader.number(1);
  const command = reader.number(1);
  const types = knownTypes(reader.number(2));
  const roomBytes = reader.number(2);
  const control = reader.bytes(reader.number(2));
  const input = reader.bytes(reader.number(2));
  const signature = reader.bytes(reader.number(2));
  return {
    client: (flags & 1) === 0 ? 0 : 1,
    command,
    types,
    roomBytes,
    control,
    input: (flags & INPUT_IS_OUTPUT) === 0 ? input : 'last output',
    signature: (flags & SIGNATURE_IS_OUTPUT) === 0 ? signature : 'last output',
  };
}

/** The wire lets no other types through. */
function knownTypes(types: number): number {
  const known = (index: number): number => {
    const type = typeAt(types, index) & 7;
    return type === 4 ? 0 : type;
  };
  return packTypes(known(0), known(1), known(2), known(3));
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.byteLength;
  }

  number(byteCount: 1 | 2): number {
    const [low = 0, high = 0] = this.bytes(byteCount);
    return low | (high << 8);
  }

  bytes(length: number): Uint8Array {
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }
}
