/** What the parsers cost when somebody hostile wrote the file; runs in a process of its own. */
import { createHash } from 'node:crypto';

import { Fields } from '../../agent/decode.ts';
import { isOtaError } from '../../agent/errors.ts';
import { UPTANE } from '../../agent/uptane/format.ts';
import { readAuthority, readKeys } from '../../agent/uptane/keys.ts';
import { TUF } from '../../agent/uptane/tuf.ts';
import { peakBytesOf } from './peak-memory.ts';

const KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
/** Signs nothing here: every form has to be tried before that is known. */
const SIGNATURE = `{"keyid":"k","method":"ed25519","sig":"${'A'.repeat(86)}=="}`;
const TUF_SIGNATURE = `{"keyid":"k","sig":"${'00'.repeat(64)}"}`;
const HASHES = { sha256: createHash('sha256').update('x').digest('hex') };
const COMMON = '"expires":"2037-12-31T23:59:59Z","spec_version":"1.0.0","version":1';

/** A file of some size: what comes before, what fills it, what comes after. */
interface Shape {
  readonly type?: 'root' | 'snapshot' | 'targets';
  /** Where no configuration allows 15 MB. */
  readonly maxBytes?: number;
  readonly before?: string;
  /** Repeated; `%` becomes a number that counts up, of seven digits. */
  readonly fill: string;
  readonly after?: string;
}

const extra = (open: string, fill: string, close: string): Shape => ({
  before: `"x":${open}`,
  fill,
  after: `${close},"targets":{}`,
});
const target = `{"hashes":{"sha256":"${HASHES.sha256}"},"length":1}`;

export const SHAPES: Readonly<Record<string, Shape>> = {
  'arrays without end': { before: '"x":', fill: '[' },
  'objects without end': { before: '"x":', fill: '{"a":' },
  'millions of empty arrays': extra('[', '[],', '0]'),
  'millions of empty objects': extra('[', '{},', '0]'),
  'millions of small objects': extra('[', '{"a":{"b":1}},', '0]'),
  'millions of numbers': extra('[', '1,', '0]'),
  'millions of short members': extra('{', '"%":0,', '"y":0}'),
  'members in order, just long enough': extra('{', '"a%bcdefg":0,', '"b":0}'),
  'members in the wrong order, just long enough': extra('{"z":0,', '"a%bcdefg":0,', '"b":0}'),
  'one name for ever': extra('{', '"a":0,', '"b":0}'),
  'a string of escapes': extra('"', '\\u0041', '"'),
  'a string of escaped surrogates': extra('"', '\\ud83d\\ude80', '"'),
  'a string of short escapes': extra('"', '\\n', '"'),
  'text that escapes three times as long': extra('"', 'ü', '"'),
  'white space': { fill: ' ', after: '"targets":{}' },
  'targets that are as short as can be': {
    before: '"targets":{',
    fill: `"%":${target},`,
    after: `"z":${target}}`,
  },
  'targets that are none': { before: '"targets":{', fill: '"a%cdefgh":0,', after: '"b":0}' },
  'a delegation with millions of paths': {
    before:
      '"targets":{},"delegations":{"keys":{},"roles":[{"name":"r","keyids":[],"threshold":1,"terminating":false,"paths":[',
    fill: '"",',
    after: '""]}]}',
  },
  'many delegations with many paths': {
    before: '"targets":{},"delegations":{"keys":{},"roles":[',
    fill: `{"name":"r%","keyids":[],"threshold":1,"terminating":false,"paths":[${'"",'.repeat(400)}""]},`,
    after: '{"name":"r","keyids":[],"threshold":1,"terminating":false,"paths":[]}]}',
  },
  'millions of delegations': {
    before: '"targets":{},"delegations":{"keys":{},"roles":[',
    fill: '{},',
    after: '{}]}',
  },
  'keys without end': {
    type: 'root',
    before: '"roles":{},"keys":{',
    fill: `"%":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"${KEY}"}},`,
    after: '"k":{}}',
  },
  'key ids without end': {
    type: 'root',
    before: '"keys":{},"roles":{"root":{"threshold":1,"keyids":[',
    fill: '"",',
    after: '""]}}',
  },
  'a snapshot of everything': {
    type: 'snapshot',
    maxBytes: TUF.maxBytes.snapshot,
    before: '"meta":{',
    fill: '"%.json":{"version":1},',
    after: '"z.json":{"version":1}}',
  },
};

export interface Cost {
  /** The failure, or who signed. */
  readonly found: string;
  readonly peakBytes: number;
}

/** Parses, and does everything that is done before it is known that nobody signed. */
export async function cost(args: {
  shape: string;
  bytes: number;
  format: 'uptane' | 'tuf';
}): Promise<Cost> {
  const shape = SHAPES[args.shape];
  if (shape === undefined) throw new Error(`no shape ${args.shape}`);
  const bytes = hostile(shape, args.bytes, args.format);
  const authority = readAuthority(
    new Fields({ keyids: ['k'], threshold: 1 }, 'role'),
    readKeys(new Fields({ k: { keytype: 'ed25519', keyval: { public: KEY } } }, 'keys')),
  );
  let found = '';
  const judge = (): string => {
    const format = args.format === 'tuf' ? TUF : UPTANE;
    const file = {
      root: () => format.parseRoot(bytes, 'image'),
      snapshot: () => format.parseSnapshot(bytes, 'image'),
      targets: () => format.parseTargets(bytes, 'image', 'targets'),
    }[shape.type ?? 'targets']();
    const listed = file.hasHashes(new Map(Object.entries(HASHES) as [['sha256', string]]));
    return `listed ${String(listed)}, signers ${String(file.countSigners(authority))}`;
  };
  const peakBytes = await peakBytesOf(() => {
    found = outcome(judge);
  });
  return { found, peakBytes };
}

function outcome(act: () => string): string {
  try {
    return act();
  } catch (error) {
    if (isOtaError(error)) return error.message;
    throw error;
  }
}

function hostile(shape: Shape, bytes: number, format: 'uptane' | 'tuf'): Buffer {
  const signature = format === 'tuf' ? TUF_SIGNATURE : SIGNATURE;
  const { type = 'targets', before = '', fill, after, maxBytes = Infinity } = shape;
  const head = `{"signatures":[${signature}],"signed":{"_type":"${type}",${COMMON},${before}`;
  const tail = after === undefined ? '' : `${after}}}`;
  const file = Buffer.alloc(Math.min(bytes, maxBytes), ' ');
  let at = file.write(head);
  const end = file.byteLength - Buffer.byteLength(tail) - Buffer.byteLength(fill) - 7;
  for (let i = 0; at < end; i += 1) {
    at += file.write(fill.includes('%') ? fill.replace('%', String(i).padStart(7, '0')) : fill, at);
  }
  file.write(tail, at);
  return file;
}
