/**
 * A whole conversation in which somebody without keys changes what is served: nothing is installed or
 * kept that honest keys did not sign, nothing goes back, and honest files are believed afterwards.
 *
 * An input is a world and a start, then changes of six bytes each: what, which file, and two numbers.
 */
import { canonical, type Key } from '../support/build-metadata.ts';
import { holds } from './invariant.ts';
import { editJson } from './json-edits.ts';
import { Random } from './random.ts';
import { refusalOr } from './refusal.ts';
import { seededKey } from './seeded-keys.ts';
import type { FuzzTarget } from './target.ts';
import {
  converse,
  honestWorlds,
  serving,
  signedPart,
  targetTexts,
  type Files,
  type HonestWorld,
} from './verification-world.ts';

const CHANGE_BYTES = 6;
const MAX_CHANGES = 6;
/** Signed by no honest repository, and asked for after every chain of roots. */
const NEXT_ROOTS = ['director/3.root.json', 'image/3.root.json'];

const worlds = honestWorlds();
const stranger = seededKey('stranger');

interface Change {
  readonly bytes: Uint8Array | undefined;
  readonly a: number;
  readonly b: number;
  /** Everything that either step serves, to take from. */
  readonly pool: readonly Uint8Array[];
}

const CHANGES: readonly ((change: Change) => Uint8Array | undefined)[] = [
  flip,
  ({ bytes, a }) => bytes?.subarray(0, a % (bytes.length + 1)),
  ({ pool, a }) => pool[a % pool.length],
  () => undefined,
  edited,
  (change) => resigned(change, 'own'),
  (change) => resigned(change, 'claimed'),
  withOwnKey,
  otherSignatures,
];

export const verification: FuzzTarget = {
  name: 'verification',
  *seeds() {
    for (let choice = 0; choice < worlds.length * 3; choice += 1) {
      yield Uint8Array.of(choice);
      for (let what = 0; what < CHANGES.length; what += 1) {
        yield Uint8Array.of(choice, what, 3 * what + choice, 1, what, 0, 77);
      }
    }
  },
  run(input) {
    const [choice = 0] = input;
    const world = worlds[choice % worlds.length];
    holds(world !== undefined, 'there is no world');
    const startAt = Math.trunc(choice / worlds.length) % world.starts.length;
    const start = world.starts[startAt] ?? new Map<string, Uint8Array>();
    const kept = new Map(start);
    const served = changed(world, input.subarray(1));
    const said = refusalOr(() => {
      attacked(world, kept, served);
    });
    recovers(world, kept);
    const outcome = 'code' in said ? said.code : 'update';
    return [`${world.name} ${String(startAt)} ${outcome}`];
  },
};

function attacked(world: HonestWorld, kept: Map<string, Uint8Array>, served: Files): void {
  const before = new Map(kept);
  const verdict = converse(before, world.imageFormat, serving(served), (name, bytes) => {
    checkKept(world, before, name, bytes);
    if (bytes === undefined) kept.delete(name);
    else kept.set(name, bytes);
  });
  holds(verdict.outcome === 'update', 'the image that both want is not wanted');
  for (const text of targetTexts(verdict)) holds(world.targets.has(text), `forged: ${text}`);
}

function checkKept(
  world: HonestWorld,
  before: Files,
  name: string,
  bytes: Uint8Array | undefined,
): void {
  if (bytes === undefined) {
    // What new keys outdate (Uptane Standard 2.1 §5.4.4.3 step 4).
    holds(name.endsWith('/snapshot'), `${name} is forgotten`);
    return;
  }
  const { text, version } = signedPart(bytes);
  holds(world.signed.get(name)?.has(text) ?? false, `${name} is kept and nobody signed it`);
  const old = before.get(name);
  holds(old === undefined || version >= signedPart(old).version, `${name} goes back`);
}

/** The second step, unchanged, is believed whatever came before it. */
function recovers({ imageFormat, served, targets }: HonestWorld, kept: Files): void {
  const honest = serving(served.at(-1) ?? new Map<string, Uint8Array>());
  const verdict = converse(kept, imageFormat, honest, () => undefined);
  const [text = ''] = targetTexts(verdict);
  holds(targets.has(text) && text.includes('fw-2'), 'honest files do not count any more');
}

function changed(world: HonestWorld, program: Uint8Array): Files {
  const files = new Map(world.served.at(-1));
  const names = [...files.keys(), ...NEXT_ROOTS];
  const pool = world.served.flatMap((step) => [...step.values()]);
  for (let i = 0; i < MAX_CHANGES && (i + 1) * CHANGE_BYTES <= program.length; i += 1) {
    const words = Buffer.from(program.subarray(i * CHANGE_BYTES, (i + 1) * CHANGE_BYTES));
    const name = names[words.readUInt8(1) % names.length] ?? '';
    const change = CHANGES[words.readUInt8(0) % CHANGES.length];
    const [a, b] = [words.readUInt16BE(2), words.readUInt16BE(4)];
    const bytes = change?.({ bytes: files.get(name), a, b, pool });
    if (bytes === undefined) files.delete(name);
    else files.set(name, bytes);
  }
  return files;
}

function flip({ bytes, a, b }: Change): Uint8Array | undefined {
  if (bytes === undefined || bytes.length === 0) return bytes;
  const copy = Uint8Array.from(bytes);
  const at = a % copy.length;
  copy[at] = (copy[at] ?? 0) ^ (1 + (b % 255));
  return copy;
}

function edited({ bytes, a, b, pool }: Change): Uint8Array | undefined {
  const other = pool[b % pool.length] ?? new Uint8Array();
  return bytes && editJson(bytes, new Random(a * 0x1_0000 + b), other);
}

interface Envelope {
  signatures: { keyid: string; method?: string; sig: string }[];
  signed: Record<string, unknown>;
}

/** Something else, signed by a stranger: under the stranger's key id, or under those of who should. */
function resigned(change: Change, as: 'own' | 'claimed'): Uint8Array | undefined {
  const bytes = edited(change);
  const file = bytes && envelopeOf(bytes);
  if (file === undefined) return bytes;
  const ids = as === 'own' ? [stranger.id] : file.signatures.map(({ keyid }) => keyid);
  return signedBy(stranger, file, ids);
}

/** The stranger's key in the place of every key that counts, also in delegations. */
function withOwnKey({ bytes, a }: Change): Uint8Array | undefined {
  const file = bytes && envelopeOf(bytes);
  if (file === undefined) return bytes;
  const text = JSON.stringify(file.signed);
  const publicKeys = [...text.matchAll(/"public":"(?<key>[0-9a-f]{64})"/gu)].map(([, key]) => key);
  let forged = text;
  for (const key of publicKeys) if (key !== undefined) forged = forged.replace(key, stranger.text);
  const signed = JSON.parse(forged) as Envelope['signed'];
  if (typeof signed['version'] === 'number') signed['version'] += a % 3;
  const claimed = file.signatures.map(({ keyid }) => keyid);
  return signedBy(stranger, { ...file, signed }, [...claimed, stranger.id]);
}

/** What one file says under what another was signed with. */
function otherSignatures({ bytes, a, pool }: Change): Uint8Array | undefined {
  const file = bytes && envelopeOf(bytes);
  const other = envelopeOf(pool[a % pool.length] ?? new Uint8Array());
  if (file === undefined || other === undefined) return bytes;
  return Buffer.from(JSON.stringify({ ...other, signatures: file.signatures }));
}

function signedBy(key: Key, { signed }: Envelope, keyids: readonly string[]): Uint8Array {
  const sig = key.sign(Buffer.from(canonical(signed)));
  const forms = [sig, Buffer.from(sig, 'base64').toString('hex')];
  const signatures = keyids.flatMap((keyid, i) => [
    { keyid, method: key.method, sig: forms[i % forms.length] },
  ]);
  return Buffer.from(JSON.stringify({ signatures, signed }));
}

function envelopeOf(bytes: Uint8Array): Envelope | undefined {
  try {
    const file = JSON.parse(Buffer.from(bytes).toString()) as Partial<Envelope> | null;
    const { signatures, signed } = file ?? {};
    if (!Array.isArray(signatures) || typeof signed !== 'object') return undefined;
    return signatures.every((each) => typeof each.keyid === 'string')
      ? (file as Envelope)
      : undefined;
  } catch {
    return undefined;
  }
}
