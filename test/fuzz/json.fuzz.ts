/**
 * The reader of all JSON: what it accepts is what `JSON.parse` reads, in the one form that a second
 * writer makes of it; what is in that form already it does accept.
 */
import { parseJson } from '../../agent/decode.ts';
import { CanonicalForms, canonicalJson } from '../../agent/uptane/canonical.ts';
import { canonicalText } from '../../agent/json-text.ts';
import { olpcForm } from '../../agent/uptane/tuf-canonical.ts';
import { canonical } from '../support/build-metadata.ts';
import { olpc } from '../support/tuf-keys.ts';
import { holds } from './invariant.ts';
import { mutateJson } from './json-edits.ts';
import { metadataFiles } from './metadata-seeds.ts';
import { refusalOr } from './refusal.ts';
import type { FuzzTarget } from './target.ts';

const MAX_DEPTH = 64;
const MAX_MEMBERS = 1024;

export const json: FuzzTarget = {
  name: 'json',
  *seeds() {
    for (const { bytes } of metadataFiles()) yield bytes;
    for (const text of TEXTS) yield Buffer.from(text);
  },
  run(input) {
    const read = refusalOr(() => canonicalText(input, 'fuzz'));
    if ('value' in read) return [checkAccepted(input, read.value)];
    holds(read.code === 'METADATA_MALFORMED', `refused with ${read.code}`);
    holds(!isPlain(input), 'a canonical text is refused');
    return [read.code];
  },
  mutate: mutateJson,
};

const TEXTS = [
  'null',
  ' [ 1 , -2,true , "a\\u00e9\\ud83d\\ude00\\/\\b\\u0001" ] ',
  '{"b":1,"a":{"é":2,"z":3,"\\n":4},"":[],"__proto__":{},"10":0,"9":0}',
  '{"a":1,"\\u0061":2}',
  '[9007199254740991,-9007199254740991]',
  // Each alone: the first refusal hides the others.
  ...['9007199254740992', '9007199254740993', '1e3', '-0', '0.5', '01'].map((text) => `[${text}]`),
  '["\\ud800"]',
  '['.repeat(MAX_DEPTH) + ']'.repeat(MAX_DEPTH),
];

function checkAccepted(input: Uint8Array, text: Uint8Array): string {
  const value: unknown = JSON.parse(Buffer.from(input).toString());
  holds(same(text, Buffer.from(canonical(value))), 'not the canonical form of the value');
  holds(canonicalText(text, 'fuzz') === text, 'the canonical form is not its own');
  holds(same(canonicalJson(parseJson(input, 'fuzz')), text), 'the value is read as another');
  holds(same(olpcForm(text), Buffer.from(olpc(value))), 'not the form of OLPC');
  const forms = [...new CanonicalForms(text)];
  for (const form of forms) {
    holds(canonical(JSON.parse(Buffer.from(form).toString())) === canonical(value), 'a form lies');
  }
  return `accepted, ${String(forms.length)} forms, ${text === input ? 'canonical' : 'other'}`;
}

/** Is it beyond doubt what this is, and within every limit? */
function isPlain(input: Uint8Array): boolean {
  const text = Buffer.from(input).toString();
  try {
    const value: unknown = JSON.parse(text);
    return canonical(value) === text && same(Buffer.from(text), input) && isWithin(value, 0);
  } catch {
    return false;
  }
}

function isWithin(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value !== 'object' || value === null) return true;
  const members = Object.entries(value);
  return (
    depth < MAX_DEPTH &&
    members.length <= MAX_MEMBERS &&
    members.every(([name, item]) => name.isWellFormed() && isWithin(item, depth + 1))
  );
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
