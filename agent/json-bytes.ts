/** Bytes of JSON texts, one at a time. */

export const JSON_BYTE = {
  space: 0x20,
  quote: 0x22,
  comma: 0x2c,
  minus: 0x2d,
  zero: 0x30,
  colon: 0x3a,
  openArray: 0x5b,
  backslash: 0x5c,
  closeArray: 0x5d,
  u: 0x75,
  openObject: 0x7b,
  closeObject: 0x7d,
} as const;

/** First bits of a character in UTF-8, by how many bytes follow. */
const LEAD = [0x00, 0xc0, 0xe0, 0xf0];

export function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** @returns 0 to 15, or `undefined` for what is no digit */
export function hexDigit(byte: number): number | undefined {
  if (isDigit(byte)) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : undefined;
}

/**
 * Compares two canonical strings by code point, which is the order of their bytes but for escapes.
 *
 * @param a - where the first one's opening quote is in `text`
 * @param b - the second one's
 * @returns less than, equal to or more than 0
 */
export function compareNames(text: Uint8Array, a: number, b: number): number {
  for (let i = 1; ; i += 1) {
    const [left, right] = [text[a + i] ?? JSON_BYTE.quote, text[b + i] ?? JSON_BYTE.quote];
    if (left === JSON_BYTE.backslash || right === JSON_BYTE.backslash) {
      return Buffer.compare(unescaped(text, a), unescaped(text, b));
    }
    if (left === right && left === JSON_BYTE.quote) return 0;
    // The end of a name comes before whatever else could be there.
    if (left === JSON_BYTE.quote) return -1;
    if (right === JSON_BYTE.quote) return 1;
    if (left !== right) return left - right;
  }
}

/** The byte after the string that starts at `at`. */
export function endOfString(text: Uint8Array, at: number): number {
  let end = at + 1;
  for (let byte = text[end]; byte !== undefined && byte !== JSON_BYTE.quote; byte = text[end]) {
    end += byte === JSON_BYTE.backslash ? 2 : 1;
  }
  return end + 1;
}

/** @returns where the next byte goes */
export function writeUtf8(out: Uint8Array, at: number, codePoint: number): number {
  if (codePoint < 0x80) {
    out[at] = codePoint;
    return at + 1;
  }
  const more = codePoint < 0x800 ? 1 : codePoint < 0x10000 ? 2 : 3;
  out[at] = (LEAD[more] ?? 0) | (codePoint >> (6 * more));
  for (let i = 1; i <= more; i += 1) out[at + i] = 0x80 | ((codePoint >> (6 * (more - i))) & 0x3f);
  return at + more + 1;
}

/** The character that starts at `at`; the text is UTF-8. */
export function readUtf8(text: Uint8Array, at: number): { codePoint: number; bytes: number } {
  const first = text[at] ?? 0;
  const more = first < 0xc0 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
  let codePoint = first - (LEAD[more] ?? 0);
  for (let i = 1; i <= more; i += 1) codePoint = (codePoint << 6) | ((text[at + i] ?? 0) & 0x3f);
  return { codePoint, bytes: more + 1 };
}

function unescaped(text: Uint8Array, at: number): Buffer {
  const quoted = Buffer.from(text.subarray(at, endOfString(text, at))).toString();
  return Buffer.from(JSON.parse(quoted) as string);
}
