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
import { JSON_BYTE as BYTE, readUtf8 } from '../json-bytes.ts';
import { canonicalText } from '../json-text.ts';
import { ObjectView, view } from '../json-view.ts';

const HASHES = { sha256: 32, sha512: 64 } as const;

/** Hash algorithms that are checked; others may be listed beside them. */
export type HashAlgorithm = keyof typeof HASHES;
export const HASH_ALGORITHMS: readonly HashAlgorithm[] = ['sha256', 'sha512'];

const HEX_DIGITS = Buffer.from('0123456789abcdef');

/**
 * Serialises with names sorted by code point, no white space and the escapes of `JSON.stringify`.
 *
 * This is not the canonical JSON of OLPC that the TUF specification names: repositories and devices
 * of this dialect escape line feeds in PEM keys as every JSON library does.
 */
export function canonicalJson(value: Json): Uint8Array {
  return canonicalText(Buffer.from(written(value)), 'document');
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
  for (const form of forms) if (allEqual(form)) return true;
  return false;
}

function written(value: Json): string {
  if (value instanceof Map) {
    const members = [...(value as ReadonlyMap<string, Json>)];
    return `{${members.map(([name, item]) => `${JSON.stringify(name)}:${written(item)}`).join(',')}}`;
  }
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(written).join(',')}]`;
  return JSON.stringify(value);
}

/** Two passes, because three times the length is the worst case and hardly ever the case. */
function escapeBeyondAscii(utf8: Uint8Array): Uint8Array {
  let more = 0;
  // Two, three and four bytes become six, six and twelve.
  for (const byte of utf8) if (byte >= 0xc0) more += byte < 0xe0 ? 4 : byte < 0xf0 ? 3 : 8;
  const ascii = Buffer.allocUnsafeSlow(utf8.byteLength + more);
  let to = 0;
  for (let at = 0; at < utf8.byteLength;) {
    const byte = utf8[at] ?? 0;
    if (byte < 0x80) {
      ascii[to] = byte;
      to += 1;
      at += 1;
    } else {
      const { codePoint, bytes } = readUtf8(utf8, at);
      at += bytes;
      if (codePoint > 0xffff) to = writeEscape(ascii, to, 0xd7c0 + (codePoint >> 10));
      to = writeEscape(ascii, to, codePoint > 0xffff ? 0xdc00 | (codePoint & 0x3ff) : codePoint);
    }
  }
  return ascii;
}

/** @returns where the next byte goes */
function writeEscape(out: Uint8Array, at: number, unit: number): number {
  out[at] = BYTE.backslash;
  out[at + 1] = BYTE.u;
  for (let i = 0; i < 4; i += 1) out[at + 2 + i] = HEX_DIGITS[(unit >> (12 - 4 * i)) & 0xf] ?? 0;
  return at + 6;
}
