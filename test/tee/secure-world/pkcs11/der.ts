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
  if (bytes[0] !== TAG.OCTET_STRING) return undefined;
  const short = bytes[1] ?? 0xff;
  const headBytes = short < 0x80 ? 2 : 3;
  const length = short < 0x80 ? short : short === 0x81 ? (bytes[2] ?? 0) : -1;
  return headBytes + length === bytes.byteLength ? bytes.subarray(headBytes) : undefined;
}

function tagged(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(tag), lengthOf(content.byteLength), content]);
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  if (length < 0x100) return Uint8Array.of(0x81, length);
  return Uint8Array.of(0x82, length >> 8, length & 0xff);
}
