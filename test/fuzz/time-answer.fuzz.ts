/** Answers of time servers and the file of their keys: no time but the signed one for this request. */
import { readTimeKeys, verifyTime } from '../../agent/uptane/attested-time.ts';
import { formatInstant, parseInstant } from '../../agent/uptane/time.ts';
import { envelope, keysObject } from '../support/build-metadata.ts';
import { holds } from './invariant.ts';
import { mutateJson } from './json-edits.ts';
import { refusalOr } from './refusal.ts';
import { seededKey } from './seeded-keys.ts';
import type { FuzzTarget } from './target.ts';

const KEYS = [seededKey('time 1'), seededKey('time 2')];
const STRANGER = seededKey('stranger');
const NONCE = 'f3b1c6a2-0000-4000-8000-00000000abcd';
const TIME = '2026-11-21T12:00:00Z';
const KEY_FILE = Buffer.from(JSON.stringify({ keys: keysObject(KEYS), threshold: 2 }));
const EXPECTED = {
  nonce: NONCE,
  authority: readTimeKeys(KEY_FILE),
  latestKnown: parseInstant('2026-11-20T00:00:00Z', 'known'),
};
const READ_KEYS = 1;

/** The first byte chooses: an answer, or the file of keys. */
export const timeAnswer: FuzzTarget = {
  name: 'time-answer',
  *seeds() {
    const body = { _type: 'Time', nonces: [NONCE], time: TIME };
    yield chosen(0, envelope(body, KEYS));
    yield chosen(0, envelope({ ...body, nonces: ['another', NONCE] }, KEYS));
    // Signed rightly, for another request; later than the honest answer.
    const replayed = { ...body, nonces: ['another'], time: '2027-01-01T00:00:00Z' };
    yield chosen(0, envelope(replayed, KEYS));
    yield chosen(0, envelope({ ...body, time: '2026-11-19T00:00:00Z' }, KEYS));
    yield chosen(0, envelope({ ...body, time: '2030-01-01T00:00:00Z' }, [STRANGER, STRANGER]));
    yield chosen(0, envelope({ ...body, time: '2030-01-01T00:00:00Z' }, KEYS.slice(0, 1)));
    yield chosen(READ_KEYS, KEY_FILE);
  },
  run: (input) => (input[0] === READ_KEYS ? readKeys : readTime)(input.subarray(1)),
  mutate: (input, random, other) =>
    chosen(input[0] ?? 0, mutateJson(input.subarray(1), random, other.subarray(1))),
};

function readTime(bytes: Uint8Array): readonly string[] {
  const read = refusalOr(() => verifyTime(bytes, EXPECTED));
  if ('code' in read) return [`time ${read.code}`];
  holds(formatInstant(read.value) === formatInstant(parseInstant(TIME, 'time')), 'a forged time');
  return ['time'];
}

function readKeys(bytes: Uint8Array): readonly string[] {
  const read = refusalOr(() => readTimeKeys(bytes));
  if ('code' in read) {
    holds(read.code === 'METADATA_MALFORMED', `keys are refused with ${read.code}`);
    return [`keys ${read.code}`];
  }
  const { keys, threshold } = read.value;
  const different = new Set([...keys.values()].map(({ material }) => material)).size;
  holds(threshold >= 1 && threshold <= different, 'a threshold of none, or that nobody can meet');
  return [`keys ${String(different)} ${String(threshold)}`];
}

function chosen(choice: number, bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(Buffer.concat([Buffer.of(choice), bytes]));
}
