/**
 * Canonical JSON: the bytes a signature covers.
 *
 * What is signed is the object that was received, unknown fields included: a device that dropped
 * what it does not understand could not check a signature made by a newer repository.
 */
import { isAscii } from 'node:buffer';
import { createHash } from 'node:crypto';

import type { Json } from '../decode.ts';
import { OtaError } from '../errors.ts';
import { ObjectView, view } from '../json-view.ts';

const HASHES = { sha256: 32, sha512: 64 } as const;

/** Hash algorithms that are checked; others may be listed beside them. */
export type HashAlgorithm = keyof typeof HASHES;
export const HASH_ALGORITHMS: readonly HashAlgorithm[] = ['sha256', 'sha512'];

const SURROGATE = /[\ud800-\udfff]/;

/**
 * Serialises with names sorted by code point, no white space and the escapes of `JSON.stringify`.
 *
 * This is not the canonical JSON of OLPC that the TUF specification names: repositories and devices
 * of this dialect escape line feeds in PEM keys as every JSON library does.
 */
export function canonicalJson(value: Json): Uint8Array {
  return Buffer.from(serialise(value));
}

/**
 * The one or two byte sequences that a signature may cover.
 *
 * Servers of the field sign raw UTF-8; the reference client and its tools write everything beyond
 * ASCII as `\u` escapes in lower case. They differ only where there is such text.
 */
export class CanonicalForms implements Iterable<Uint8Array> {
  readonly #utf8: Uint8Array;
  #ascii: Uint8Array | undefined;

  /** @param utf8 - as `canonicalText` writes it */
  constructor(utf8: Uint8Array) {
    this.#utf8 = utf8;
  }

  *[Symbol.iterator](): Generator<Uint8Array> {
    yield this.#utf8;
    if (isAscii(this.#utf8)) return;
    this.#ascii ??= escapeBeyondAscii(this.#utf8);
    yield this.#ascii;
  }
}

/** What a metadata file says, without the signatures beside it. */
export function signedText(canonical: Uint8Array): Uint8Array {
  const envelope = view(canonical);
  const signed = envelope instanceof ObjectView ? envelope.textOf('signed') : undefined;
  if (signed === undefined) throw new OtaError('BUG', { what: 'no envelope' });
  return signed;
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
 * @param forms - of the whole file
 */
export function matchesHashes(
  hashes: ReadonlyMap<HashAlgorithm, string>,
  bytes: Uint8Array,
  forms: Iterable<Uint8Array>,
): boolean {
  const allEqual = (form: Uint8Array): boolean =>
    [...hashes].every(([algorithm, hex]) => digest(algorithm, form) === hex);
  if (allEqual(bytes)) return true;
  for (const form of forms) if (form !== bytes && allEqual(form)) return true;
  return false;
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

/** Two passes, because three times the length is the worst case and hardly ever the case. */
function escapeBeyondAscii(utf8: Uint8Array): Uint8Array {
  let more = 0;
  // Two, three and four bytes become six, six and twelve.
  for (const byte of utf8) if (byte >= 0xc0) more += byte < 0xe0 ? 4 : byte < 0xf0 ? 3 : 8;
  const ascii = Buffer.allocUnsafeSlow(utf8.byteLength + more);
  let to = 0;
  for (let at = 0; at < utf8.byteLength; at += 1) {
    const byte = utf8[at] ?? 0;
    if (byte < 0x80) {
      ascii[to] = byte;
      to += 1;
    } else if (byte >= 0xc0) {
      const length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
      const character = Buffer.from(utf8.subarray(at, at + length)).toString();
      for (const unit of character.split('')) to += ascii.write(escaped(unit), to, 'latin1');
    }
  }
  return ascii;
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
