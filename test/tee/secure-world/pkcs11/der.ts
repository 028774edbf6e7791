/** The little DER that key encodings need: writer, and a reader for one kind of value. */

const TAG = { INTEGER: 0x02, BIT_STRING: 0x03, OCTET_STRING: 0x04, SEQUENCE: 0x30 } as const;

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tagged(TAG.SEQUENCE, Buffer.concat(parts));
}

/** @param magnitude - big-endian and positive, leading zeros or not */
export function integer(magnitude: Uint8Array): Buffer {
  const start = magnitude.findIndex((byte) => byte !== 0);
  const digits = start === -1 ? Uint8Array.of(0) : magnitude.subarray(start);
  const needsSign = (digits[0] ?? 0) >= 0x80;
  return tagged(TAG.INTEGER, needsSign ? Buffer.concat([Uint8Array.of(0), digits]) : digits);
}

export function octetString(bytes: Uint8Array): Buffer {
  return tagged(TAG.OCTET_STRING, bytes);
}

/** A bit string of whole bytes. */
export function bitString(bytes: Uint8Array): Buffer {
  return tagged(TAG.BIT_STRING, Buffer.concat([Uint8Array.of(0), bytes]));
}

/** `[number] EXPLICIT`. */
export function explicit(number: number, content: Uint8Array): Buffer {
  return tagged(0xa0 | number, content);
}

/** @returns the contents if `bytes` is exactly one OCTET STRING */
export function readOctetString(bytes: Uint8Array): Uint8Array | undefined {
  const value = readValue(bytes, TAG.OCTET_STRING);
  return value?.rest.byteLength === 0 ? value.content : undefined;
}

/** @returns the magnitudes of a SEQUENCE of non-negative INTEGERs; what follows it is ignored */
export function readIntegers(bytes: Uint8Array): readonly Uint8Array[] | undefined {
  const integers: Uint8Array[] = [];
  let rest = readValue(bytes, TAG.SEQUENCE)?.content;
  while (rest !== undefined && rest.byteLength > 0) {
    const value = readValue(rest, TAG.INTEGER);
    if (value === undefined) return undefined;
    integers.push(value.content[0] === 0 ? value.content.subarray(1) : value.content);
    rest = value.rest;
  }
  return rest && integers;
}

/** Reads one value with a definite length of at most 65535 bytes. */
function readValue(
  bytes: Uint8Array,
  tag: number,
): { readonly content: Uint8Array; readonly rest: Uint8Array } | undefined {
  const [first, short = 0x80, high = 0, low = 0] = bytes;
  if (first !== tag) return undefined;
  const [headBytes, length] =
    short < 0x80 ? [2, short] : short === 0x81 ? [3, high] : [4, (high << 8) | low];
  const isKnown = short < 0x80 || short === 0x81 || short === 0x82;
  const end = headBytes + length;
  if (!isKnown || end > bytes.byteLength) return undefined;
  return { content: bytes.subarray(headBytes, end), rest: bytes.subarray(end) };
}

function tagged(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(tag), lengthOf(content.byteLength), content]);
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  if (length < 0x100) return Uint8Array.of(0x81, length);
  return Uint8Array.of(0x82, length >> 8, length & 0xff);
}
