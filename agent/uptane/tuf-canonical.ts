/**
 * The canonical JSON of OLPC, which TUF signs (TUF specification §4.2).
 *
 * Other than in the Uptane dialect, a string is its characters as they are, line feeds included; only
 * quotes and backslashes are escaped.
 */
import type { Json } from '../decode.ts';
import { byCodePoint } from './canonical.ts';

/** The bytes a signature covers: names sorted by code point, no white space, UTF-8. */
export function canonicalOlpc(value: Json): Uint8Array {
  return Buffer.from(serialise(value));
}

function serialise(value: Json): string {
  if (typeof value === 'string') return quoted(value);
  if (value instanceof Map) {
    const members = [...(value as ReadonlyMap<string, Json>)].sort(([a], [b]) => byCodePoint(a, b));
    return `{${members.map(([name, item]) => `${quoted(name)}:${serialise(item)}`).join(',')}}`;
  }
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(serialise).join(',')}]`;
  return JSON.stringify(value);
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
