/**
 * Replays what a real TA was asked, and compares what ours answers.
 *
 * Random values differ between the two runs, and later requests carry them back: a signature to
 * verify, a random number made into a key. Wherever the recorded answer had one, ours is put in its
 * place from then on.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

import { pkcs11App } from '../../tee/secure-world/pkcs11/ta.ts';
import { openMemoryStorage } from '../../tee/secure-world/storage/memory-storage.ts';
import {
  Memory,
  PARAM,
  packTypes,
  type Operation,
  type Parameter,
} from '../../tee/secure-world/world/operation.ts';
import { World } from '../../tee/secure-world/world/world.ts';
import { PromptClient } from './prompt-client.ts';

const TARGET_DEAD = 'ffff3024';
const PKCS11_TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';

export interface RecordedParameter {
  readonly d: 'in' | 'out' | 'inout';
  readonly size: number;
  readonly in?: string;
  readonly osize?: number;
  readonly out?: string;
}

export interface RecordedCall {
  readonly n: number;
  readonly pid: number;
  readonly op: 'open' | 'invoke' | 'close';
  readonly cmd?: number;
  readonly res?: string;
  readonly p?: readonly (RecordedParameter | null)[];
}

/** What one side answered. */
export interface Answer {
  readonly result: string;
  readonly rv: string;
  readonly sizes: readonly number[];
  /** Output with what is random replaced by its length. */
  readonly output: string;
}

export interface Difference {
  readonly n: number;
  readonly command: number;
  readonly recorded: Answer;
  readonly ours: Answer;
}

export function readTranscript(file: URL): readonly RecordedCall[] {
  const lines = gunzipSync(readFileSync(file)).toString().trim().split('\n');
  return lines.map((line) => JSON.parse(line) as RecordedCall);
}

/** Everything our strict TA answered otherwise, how many calls there were, and how often it died. */
export function replay(calls: readonly RecordedCall[]): {
  readonly invocations: number;
  readonly differences: readonly Difference[];
  readonly panics: number;
} {
  const panics: unknown[] = [];
  const world = new World([pkcs11App(openMemoryStorage(), { mode: 'strict' })], (_uuid, cause) =>
    panics.push(cause),
  );
  const process = new PromptClient(world, { pid: 1, uid: 0, gid: 0, groups: [] });
  const random = new Substitutions();
  const differences: Difference[] = [];
  let session = 0;
  let invocations = 0;
  for (const call of calls) {
    if (call.op === 'open') {
      const none: Operation = { types: 0, parameters: operationOf([], random).parameters };
      session = process.open(PKCS11_TA, 0, 0, none).session;
    } else if (call.op === 'close') {
      process.close(session);
    } else {
      invocations += 1;
      const operation = operationOf(call.p ?? [], random);
      const { result } = process.invoke(session, call.cmd ?? -1, operation);
      const difference = compare(call, result, operation, random);
      if (difference !== undefined) differences.push(difference);
    }
  }
  world.close();
  return { invocations, differences, panics: panics.length };
}

function compare(
  call: RecordedCall,
  result: number,
  operation: Operation,
  random: Substitutions,
): Difference | undefined {
  const command = call.cmd ?? -1;
  const parameters = call.p ?? [];
  const output = outputOf(parameters[2], operation);
  // Memory a TA left alone shows what the recording client happened to have there.
  const recordedOutput = output.byteLength === 0 ? output : bytesOf(parameters[2]?.out);
  const template = controlOf(operation).subarray(HANDLES_BYTES);
  const masked = mask(command, template, { recorded: recordedOutput, ours: output }, random);
  const recorded: Answer = {
    result: call.res ?? '',
    rv: parameters[0]?.out ?? '',
    sizes: parameters.map((p) => (p?.d === 'in' ? 0 : (p?.osize ?? 0))),
    output: masked.recorded,
  };
  const ours: Answer = {
    result: result.toString(16).padStart(8, '0'),
    rv: returnValue(operation),
    sizes: parameters.map((p, index) => (p?.d === 'in' ? 0 : sizeOf(operation, index))),
    output: masked.ours,
  };
  // A TA that dies answers nothing: what is in its memory is what was sent.
  const isDead = recorded.result === TARGET_DEAD && ours.result === TARGET_DEAD;
  const isSame = isDead || JSON.stringify(recorded) === JSON.stringify(ours);
  return isSame ? undefined : { n: call.n, command, recorded, ours };
}

function outputOf(
  recorded: RecordedParameter | null | undefined,
  { parameters: [, , memory] }: Operation,
): Buffer {
  const isWritten = recorded?.d === 'out' && memory instanceof Memory;
  return Buffer.from((isWritten ? memory.output : undefined) ?? []);
}

function controlOf({ parameters: [control] }: Operation): Buffer {
  return Buffer.from(control instanceof Memory ? control.input : []);
}

function sizeOf({ parameters }: Operation, index: number): number {
  const parameter = parameters[index];
  return parameter instanceof Memory ? parameter.size : 0;
}

const GET_ATTRIBUTE_VALUE = 38;
const GENERATE_RANDOM = 42;
/** Signatures, ciphertexts: what a random key or a random number made. */
const RANDOM_OUTPUT: ReadonlySet<number> = new Set([19, 21, 23, 29, 31, GENERATE_RANDOM, 51]);
/** Public values and check values of generated keys. */
const RANDOM_ATTRIBUTES: ReadonlySet<number> = new Set([0x120, 0x181, 0x90]);
/** CKA_PRIVATE_EXPONENT to CKA_COEFFICIENT */
const RANDOM_NUMBERS: ReadonlySet<number> = new Set([0x123, 0x124, 0x125, 0x126, 0x127, 0x128]);
const ATTRIBUTE_HEAD_BYTES = 8;
const LIST_HEAD_BYTES = 8;
/** Session and object, before the template. */
const HANDLES_BYTES = 8;

interface Outputs<T> {
  readonly recorded: T;
  readonly ours: T;
}

function mask(
  command: number,
  template: Buffer,
  { recorded, ours }: Outputs<Buffer>,
  random: Substitutions,
): Outputs<string> {
  if (RANDOM_OUTPUT.has(command) && recorded.byteLength === ours.byteLength) {
    random.add(recorded, ours);
    const text = `random bytes: ${String(ours.byteLength)}`;
    return { recorded: text, ours: text };
  }
  const isTemplate = command === GET_ATTRIBUTE_VALUE && recorded.byteLength === ours.byteLength;
  const expected =
    isTemplate && ours.byteLength > 0
      ? filledTemplate(template, { recorded, ours }, random)
      : recorded.toString('hex');
  return { recorded: expected, ours: ours.toString('hex') };
}

/**
 * What our answer to a template should be: the template as we were asked, filled as was recorded.
 * Public parts of random keys are taken from our answer, and noted for later.
 */
function filledTemplate(
  asked: Buffer,
  { recorded, ours }: Outputs<Buffer>,
  random: Substitutions,
): string {
  const expected = Buffer.from(asked);
  for (let at = LIST_HEAD_BYTES; at < asked.byteLength;) {
    const id = asked.readUInt32LE(at);
    const room = asked.readUInt32LE(at + 4);
    const size = recordedSize(id, recorded.readUInt32LE(at + 4), ours.readUInt32LE(at + 4));
    expected.writeUInt32LE(size, at + 4);
    const start = at + ATTRIBUTE_HEAD_BYTES;
    if (size <= room) {
      const isRandom = RANDOM_ATTRIBUTES.has(id) && ours.readUInt32LE(at + 4) === size;
      const value = [start, start + size] as const;
      if (isRandom) random.add(recorded.subarray(...value), ours.subarray(...value));
      (isRandom ? ours : random.apply(recorded)).copy(expected, start, ...value);
    }
    at = start + room;
  }
  return expected.toString('hex');
}

/** A number without leading zeros is at times a byte or two shorter: by chance, in ours or in theirs. */
function recordedSize(id: number, recorded: number, ours: number): number {
  return RANDOM_NUMBERS.has(id) && Math.abs(ours - recorded) <= 2 ? ours : recorded;
}

/** Pairs of random values: theirs, ours. */
class Substitutions {
  readonly #pairs: { readonly theirs: Buffer; readonly ours: Buffer }[] = [];
  /** Shorter values could be found where they are not meant. */
  static readonly #MIN_BYTES = 16;

  add(theirs: Buffer, ours: Buffer): void {
    if (theirs.byteLength < Substitutions.#MIN_BYTES) return;
    this.#pairs.push({ theirs: Buffer.from(theirs), ours: Buffer.from(ours) });
  }

  apply(bytes: Buffer): Buffer {
    const result = Buffer.from(bytes);
    for (const { theirs, ours } of this.#pairs) {
      const at = bytes.indexOf(theirs);
      if (at !== -1) ours.copy(result, at);
    }
    return result;
  }
}

const TYPES = { in: PARAM.MEMREF_INPUT, out: PARAM.MEMREF_OUTPUT, inout: PARAM.MEMREF_INOUT };

function operationOf(
  recorded: readonly (RecordedParameter | null)[],
  random: Substitutions,
): Operation {
  const at = (index: number): Parameter => {
    const parameter = recorded[index] ?? undefined;
    if (parameter === undefined) return { kind: 'none' };
    const input = random.apply(bytesOf(parameter.in));
    return new Memory(parameter.d === 'out' ? Buffer.alloc(0) : input, parameter.size, false);
  };
  const type = (index: number): number => {
    const parameter = recorded[index] ?? undefined;
    return parameter === undefined ? PARAM.NONE : TYPES[parameter.d];
  };
  return {
    types: packTypes(type(0), type(1), type(2), type(3)),
    parameters: [at(0), at(1), at(2), at(3)],
  };
}

function returnValue({ parameters: [control] }: Operation): string {
  if (!(control instanceof Memory)) return '';
  return Buffer.from(control.output ?? control.input).toString('hex');
}

function bytesOf(hex: string | undefined): Buffer {
  return Buffer.from(hex ?? '', 'hex');
}
