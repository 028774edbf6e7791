/**
 * A prime curve spelt out: the ECParameters that some clients send instead of its name.
 *
 * Source: ANSI X9.62-2005 §D.1 as in SEC 1 v2.0 §C.2, with the seed, the base point uncompressed.
 */
import { bitString, integer, octetString, sequence } from './der.ts';

/** `id-prime-Field`, 1.2.840.10045.1.1. */
const PRIME_FIELD = Buffer.from('06072a8648ce3d0101', 'hex');
const VERSION_1 = Uint8Array.of(1);
const UNCOMPRESSED = Uint8Array.of(4);

interface CurveNumbers {
  readonly p: bigint;
  readonly a: bigint;
  readonly b: bigint;
  readonly n: bigint;
  readonly h: bigint;
  readonly Gx: bigint;
  readonly Gy: bigint;
}

/** @param bytes - of a field element */
export function explicitParams(
  { p, a, b, n, h, Gx, Gy }: CurveNumbers,
  bytes: number,
  seed: Uint8Array,
): Buffer {
  const element = (value: bigint): Buffer => toBytes(value, bytes);
  const field = sequence(PRIME_FIELD, integer(element(p)));
  const curve = sequence(octetString(element(a)), octetString(element(b)), bitString(seed));
  const base = octetString(Buffer.concat([UNCOMPRESSED, element(Gx), element(Gy)]));
  const order = integer(element(n));
  return sequence(integer(VERSION_1), field, curve, base, order, integer(toBytes(h, 1)));
}

function toBytes(value: bigint, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * bytes, '0'), 'hex');
}
