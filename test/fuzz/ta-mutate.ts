/** Changes to a program that leave most of it valid: a wrong call says more in a right conversation. */
import { BOOLEANS, CKA } from '../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CMD } from '../tee/secure-world/pkcs11/abi.ts';
import { attributes, ED25519, P256, u32 } from '../unit/tee/pkcs11/ta-client.ts';
import { edgeOr, MAX_INPUT_BYTES, mutateBytes, withWord } from './mutate.ts';
import type { Random } from './random.ts';
import { highestHandle } from './ta-fixture.ts';
import { decodeProgram, encodeProgram, SHAPES, type Step } from './ta-program.ts';
import { findTemplate, type Entry } from './template-bytes.ts';

const COMMANDS = Object.values(CMD);
const ATTRIBUTES = Object.values(CKA);
const MECHANISMS = Object.values(CKM);
const MAX_ROOM_BYTES = 0xffff;
const ROOMS: readonly number[] = [
  0,
  4,
  8,
  12,
  16,
  20,
  32,
  64,
  104,
  128,
  160,
  256,
  400,
  MAX_ROOM_BYTES,
];
const WORDS: readonly number[] = [
  ...Array.from({ length: highestHandle() + 4 }, (_, handle) => handle),
  ...MECHANISMS,
  ...ATTRIBUTES,
  ...Object.values(CKO),
  ...Object.values(CKK),
];

type Change = (steps: Step[], at: number, random: Random, other: readonly Step[]) => void;

const ON_STEPS: readonly Change[] = [
  (steps, at) => steps.splice(at, 1),
  (steps, at, random) => {
    const step = steps[at];
    if (step !== undefined) steps.splice(random.below(steps.length + 1), 0, step);
  },
  (steps, at, random, other) => {
    const from = random.below(other.length);
    steps.splice(at, 0, ...other.slice(from, from + 1 + random.below(6)));
  },
];

const IN_STEP: readonly ((step: Step, random: Random) => Partial<Step>)[] = [
  ({ client }) => ({ client: client === 0 ? 1 : 0 }),
  (_, random) => ({ command: random.oneIn(8) ? random.below(256) : random.pick(COMMANDS) }),
  (_, random) => ({
    types: random.oneIn(6) ? random.below(0x8000) : random.pick(Object.values(SHAPES)),
  }),
  ({ roomBytes }, random) => ({
    roomBytes: random.oneIn(2) ? random.pick(ROOMS) : near(roomBytes, random),
  }),
  ({ control }, random) => ({ control: changeWord(control, random) }),
  ({ control }, random) => ({ control: changeWord(control, random) }),
  ({ control }, random) => ({ control: changeTemplate(control, random) }),
  ({ control }, random) => ({ control: changeTemplate(control, random) }),
  ({ control }, random) => ({ control: mutateBytes(control, random, control) }),
  ({ input }, random) => ({ input: changeData(input, random) }),
  ({ signature }, random) => ({ signature: changeData(signature, random) }),
];

export function mutateProgram(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  if (random.oneIn(16)) return mutateBytes(input, random, other);
  const { fixture, failingWrite, steps: old } = decodeProgram(input);
  const steps = [...old];
  const others = decodeProgram(other).steps;
  for (let left = 1 + random.below(3); left > 0; left -= 1) {
    const at = random.below(steps.length);
    const step = steps[at];
    if (step === undefined || random.oneIn(4)) random.pick(ON_STEPS)(steps, at, random, others);
    else steps[at] = { ...step, ...random.pick(IN_STEP)(step, random) };
  }
  const program = encodeProgram({
    fixture: random.oneIn(16) ? (fixture === 0 ? 1 : 0) : fixture,
    failingWrite: random.oneIn(16) ? random.below(24) : random.oneIn(4) ? 0 : failingWrite,
    steps,
  });
  return program.subarray(0, MAX_INPUT_BYTES);
}

function near(roomBytes: number, random: Random): number {
  return Math.min(Math.max(0, roomBytes + random.below(5) - 2), MAX_ROOM_BYTES);
}

function changeWord(control: Uint8Array, random: Random): Uint8Array {
  return withWord(control, 4 * random.below(control.length / 4), edgeOr(random, WORDS));
}

function changeData(data: Uint8Array | 'last output', random: Random): Step['input'] {
  if (data === 'last output' || random.oneIn(8)) {
    return random.oneIn(2) ? 'last output' : random.bytes(random.below(64));
  }
  return mutateBytes(data, random, data);
}

/** Changes one attribute of a template that ends these bytes; appends a template where none does. */
function changeTemplate(control: Uint8Array, random: Random): Uint8Array {
  const found = findTemplate(control);
  if (found === undefined) {
    return random.oneIn(4) ? Buffer.concat([control, attributes(newEntry(random))]) : control;
  }
  const entries = [...found.entries];
  const at = random.below(entries.length);
  const [id, value] = entries[at] ?? newEntry(random);
  switch (random.below(4)) {
    case 0:
      entries.splice(at, 1);
      break;
    case 1:
      entries.splice(at, 0, newEntry(random));
      break;
    case 2:
      entries[at] = [id, newValue(id, random)];
      break;
    default:
      entries[at] = [id, mutateBytes(value, random, value)];
  }
  return Buffer.concat([control.subarray(0, found.at), attributes(...entries)]);
}

function newEntry(random: Random): Entry {
  const id = random.pick(ATTRIBUTES);
  return [id, newValue(id, random)];
}

function newValue(id: number, random: Random): Uint8Array {
  if (BOOLEANS.has(id) && !random.oneIn(16)) return Uint8Array.of(random.below(2));
  if (id === CKA.EC_PARAMS && !random.oneIn(4)) return random.oneIn(2) ? P256 : ED25519;
  switch (random.below(4)) {
    case 0:
      return u32(edgeOr(random, WORDS));
    case 1:
      return random.bytes(random.below(80));
    case 2:
      return attributes([random.pick(ATTRIBUTES), Uint8Array.of(1)]);
    default:
      return new Uint8Array();
  }
}
