/** Looks at a metadata set as a client would, and names everything that is wrong with it. */
import { createHash } from 'node:crypto';

import { canonicalJson, isMap, type JsonMap } from '../../director/json/canonical-json.ts';
import type { Served } from '../../director/faults/forgery.ts';
import { parseJson, JsonReader } from '../../director/json/read-json.ts';
import { importPublicKey, isSignedBy } from '../../director/signing.ts';

const LEVELS = ['timestamp', 'snapshot', 'targets'] as const;

/**
 * @param served - `roots` from 1 on
 * @returns problems such as `snapshot signature`, `targets hash`, `root 2 signature`; empty when good
 */
export function examine(served: Served, nowMs: number): readonly string[] {
  const roots = served.roots.map((text) => new JsonReader(parseJson(text)));
  const [first] = roots;
  if (first === undefined) return ['no root'];
  const chain = roots.flatMap((root, at) => {
    const before = roots[at - 1] ?? root;
    const isGood = [before, root].every((by) => isSigned(root, by, 'root'));
    const version = root.object('signed').integer('version');
    return isGood && version === at + 1 ? [] : [`root ${String(at + 1)} signature`];
  });
  const trusted =
    roots.filter((_, at) => chain.length === 0 || at < roots.length - 1).at(-1) ?? first;
  const files = { ...served.set, delegations: undefined };
  const signatures = LEVELS.flatMap((level) =>
    isSigned(new JsonReader(parseJson(files[level])), trusted, level) ? [] : [`${level} signature`],
  );
  const dates = LEVELS.flatMap((level) =>
    Date.parse(expires(files[level])) > nowMs ? [] : [`${level} expired`],
  );
  return [...chain, ...signatures, ...dates, ...listing(served)];
}

/** `_type`-specific payload of an envelope. */
export function payload(text: string): JsonMap {
  return new JsonReader(parseJson(text)).raw('signed') as JsonMap;
}

export function version(text: string): number {
  return Number(payload(text)['version']);
}

function expires(text: string): string {
  return new JsonReader(payload(text)).string('expires');
}

function listing({ set }: Served): readonly string[] {
  const delegated = Object.entries(set.delegations).map(([name, text]) => ({
    by: set.snapshot,
    file: `${name}.json`,
    text,
  }));
  return [
    { by: set.timestamp, file: 'snapshot.json', text: set.snapshot },
    { by: set.snapshot, file: 'targets.json', text: set.targets },
    ...delegated,
  ].flatMap(({ by, file, text }) => {
    const entry = new JsonReader(payload(by)).object('meta').object(file);
    const hashes = entry.raw('hashes');
    const isSame = Object.entries(isMap(hashes) ? hashes : {}).every(
      ([algorithm, hex]) => createHash(algorithm).update(text).digest('hex') === hex,
    );
    const fits = entry.integer('length') === Buffer.byteLength(text) && isSame;
    return [
      ...(fits ? [] : [`${file} hash`]),
      ...(entry.integer('version') === version(text) ? [] : [`${file} version`]),
    ];
  });
}

function isSigned(envelope: JsonReader, root: JsonReader, role: string): boolean {
  const trusted = root.object('signed');
  const names = trusted.object('roles').object(role).strings('keyids');
  const signed = Buffer.from(canonicalJson(envelope.raw('signed') ?? null));
  const valid = envelope.objects('signatures').filter((one) => {
    const keyid = one.string('keyid');
    if (!names.includes(keyid)) return false;
    const key = trusted.object('keys').object(keyid);
    const object = importPublicKey(key.string('keytype'), key.object('keyval').string('public'));
    const signature = Buffer.from(one.string('sig'), 'base64');
    return object !== undefined && isSignedBy(object, signed, signature);
  });
  return valid.length >= trusted.object('roles').object(role).integer('threshold');
}
