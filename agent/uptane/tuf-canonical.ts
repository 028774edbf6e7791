/**
 * The canonical JSON of OLPC, which TUF signs (TUF specification §4.2).
 *
 * Other than in the Uptane dialect, a string is its characters as they are, line feeds included; only
 * quotes and backslashes are escaped.
 */
import { JSON_BYTE as BYTE } from '../json-bytes.ts';

/** What `JSON.stringify` writes for these is a letter. */
const SHORT: ReadonlyMap<number, number> = new Map(
  Object.entries({ b: 8, f: 12, n: 10, r: 13, t: 9 }).map(([letter, byte]) => [
    letter.charCodeAt(0),
    byte,
  ]),
);

/**
 * The bytes a TUF signature covers.
 *
 * @param canonical - as `canonicalText` writes it: the same order, other escapes
 */
export function olpcForm(canonical: Uint8Array): Uint8Array {
  const form = Buffer.allocUnsafeSlow(canonical.byteLength);
  let to = 0;
  for (let at = 0; at < canonical.byteLength; at += 1) {
    let byte = canonical[at] ?? 0;
    if (byte === BYTE.backslash) {
      const kind = canonical[at + 1] ?? 0;
      at += kind === BYTE.u ? 5 : 1;
      if (kind === BYTE.quote || kind === BYTE.backslash) form[to++] = byte;
      byte = kind === BYTE.u ? controlAt(canonical, at) : (SHORT.get(kind) ?? kind);
    }
    form[to++] = byte;
  }
  return form.subarray(0, to);
}

/** `\u` stands before control characters only, so two digits say it all; `at` is the second. */
function controlAt(canonical: Uint8Array, at: number): number {
  return Number.parseInt(Buffer.from(canonical.subarray(at - 1, at + 1)).toString('latin1'), 16);
}
