/** Changes to bytes that know nothing of what they mean, but where parsers tend to be wrong. */
import type { Random } from './random.ts';

/** Beyond this an input only gets slower. */
export const MAX_INPUT_BYTES = 16 * 1024;
const MAX_INSERTED_BYTES = 64;
const MAX_CHANGES = 4;

/** Sizes, counts and handles at the edges of their types. */
const EDGES: readonly number[] = [
  0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255, 256, 4095, 4096, 65535, 65536,
  0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_fffc, 0xffff_ffff,
];

type Change = (input: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const CHANGES: readonly Change[] = [
  flipBit,
  setByte,
  setWord,
  setWord,
  addToByte,
  remove,
  insert,
  repeat,
  splice,
  truncate,
];

/** @param other - another input of the corpus, to take parts from */
export function mutateBytes(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  let bytes = input;
  const changes = 1 + random.below(MAX_CHANGES);
  for (let change = 0; change < changes; change += 1) {
    bytes = random.pick(CHANGES)(bytes, random, other);
  }
  return bytes.subarray(0, MAX_INPUT_BYTES);
}

export function edgeOr(random: Random, others: readonly number[]): number {
  if (others.length > 0 && !random.oneIn(3)) return random.pick(others);
  return random.oneIn(8) ? random.u32() : random.pick(EDGES);
}

/** Little-endian, at any place. */
export function withWord(input: Uint8Array, at: number, value: number): Uint8Array {
  const bytes = input.slice();
  for (let index = 0; index < 4 && at + index < bytes.length; index += 1) {
    bytes[at + index] = (value >>> (8 * index)) & 0xff;
  }
  return bytes;
}

function flipBit(input: Uint8Array, random: Random): Uint8Array {
  const bytes = input.slice();
  const at = random.below(bytes.length);
  if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  return bytes;
}

function setByte(input: Uint8Array, random: Random): Uint8Array {
  const bytes = input.slice();
  const at = random.below(bytes.length);
  if (at < bytes.length) bytes[at] = random.below(256);
  return bytes;
}

function setWord(input: Uint8Array, random: Random): Uint8Array {
  const at = random.oneIn(2) ? 4 * random.below(input.length / 4) : random.below(input.length);
  return withWord(input, at, edgeOr(random, [input.length - at, input.length - at - 4]));
}

function addToByte(input: Uint8Array, random: Random): Uint8Array {
  const bytes = input.slice();
  const at = random.below(bytes.length);
  if (at < bytes.length) bytes[at] = ((bytes[at] ?? 0) + random.below(17) - 8) & 0xff;
  return bytes;
}

function remove(input: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.length);
  const count = 1 + random.below(random.oneIn(4) ? input.length - at : 8);
  return joined(input.subarray(0, at), input.subarray(at + count));
}

function insert(input: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.length + 1);
  const bytes = random.bytes(1 + random.below(random.oneIn(4) ? MAX_INSERTED_BYTES : 8));
  return joined(input.subarray(0, at), bytes, input.subarray(at));
}

function repeat(input: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.length);
  const part = input.subarray(at, at + 1 + random.below(MAX_INSERTED_BYTES));
  return joined(input.subarray(0, at), part, input.subarray(at));
}

function splice(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  const from = random.below(other.length);
  const part = other.subarray(from, from + 1 + random.below(other.length - from));
  const at = random.below(input.length + 1);
  const replaced = random.oneIn(2) ? part.length : 0;
  return joined(input.subarray(0, at), part, input.subarray(at + replaced));
}

function truncate(input: Uint8Array, random: Random): Uint8Array {
  return random.oneIn(4) ? input.subarray(0, random.below(input.length + 1)) : input;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
