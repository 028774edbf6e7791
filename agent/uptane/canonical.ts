/**
 * Canonical JSON: the bytes a signature covers.
 *
 * What is signed is the object that was received, unknown fields included: a device that dropped
 * what it does not understand could not check a signature made by a newer repository.
 */
import { createHash } from 'node:crypto';

import type { Json } from '../decode.ts';

/**
 * The two forms in the field: servers sign raw UTF-8, the reference client and its tools write
 * everything beyond ASCII as `\u` escapes in lower case. They differ only where there is such text.
 */
export type CanonicalForm = 'utf-8' | 'ascii';

const HASHES = { sha256: 32, sha512: 64 } as const;

/** Hash algorithms that are checked; others may be listed beside them. */
export type HashAlgorithm = keyof typeof HASHES;
export const HASH_ALGORITHMS: readonly HashAlgorithm[] = ['sha256', 'sha512'];

const BEYOND_ASCII = /[\u0080-\uffff]/g;
const SURROGATE = /[\ud800-\udfff]/;

/**
 * Serialises with names sorted by code point, no white space and the escapes of `JSON.stringify`.
 *
 * This is not the canonical JSON of OLPC that the TUF specification names: repositories and devices
 * of this dialect escape line feeds in PEM keys as every JSON library does.
 */
export function canonicalJson(value: Json, form: CanonicalForm = 'utf-8'): Uint8Array {
  const text = serialise(value);
  return Buffer.from(form === 'ascii' ? text.replace(BEYOND_ASCII, escaped) : text);
}

/** Both forms of `value`, one if they are the same. */
export function canonicalForms(value: Json): readonly Uint8Array[] {
  const utf8 = canonicalJson(value, 'utf-8');
  return utf8.some((byte) => byte > 0x7f) ? [utf8, canonicalJson(value, 'ascii')] : [utf8];
}

/** Lower-case hex. */
export function digest(algorithm: HashAlgorithm, bytes: Uint8Array): string {
  return createHash(algorithm).update(bytes).digest('hex');
}

/** How many hex digits a digest has. */
export function hexLength(algorithm: HashAlgorithm): number {
  return HASHES[algorithm] * 2;
}

/**
 * Does a file have every one of the hashes that its parent lists?
 *
 * The bytes as received count first, as TUF has it. The field's client hashes the canonical form of
 * the whole file instead, and its repositories list that: either will do, because an attacker who
 * can only choose between two serialisations of one document gains nothing.
 *
 * @param hashes - algorithm to lower-case hex; nothing listed is matched by anything
 */
export function matchesHashes(
  hashes: ReadonlyMap<HashAlgorithm, string>,
  bytes: Uint8Array,
  document: Json,
): boolean {
  const allEqual = (form: Uint8Array): boolean =>
    [...hashes].every(([algorithm, hex]) => digest(algorithm, form) === hex);
  return allEqual(bytes) || canonicalForms(document).some(allEqual);
}

function serialise(value: Json): string {
  if (value instanceof Map) {
    const members = [...(value as ReadonlyMap<string, Json>)].sort(([a], [b]) => byCodePoint(a, b));
    return `{${members.map(([name, item]) => `${JSON.stringify(name)}:${serialise(item)}`).join(',')}}`;
  }
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(serialise).join(',')}]`;
  return JSON.stringify(value);
}

/** UTF-8 byte order; `<` compares UTF-16 units, which puts U+E000 after an emoji. */
export function byCodePoint(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : 1;
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
