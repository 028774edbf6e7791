/**
 * RSA private keys as a client may import them: with or without the numbers that make them fast.
 *
 * Source: PKCS#11 v2.40 §2.1.3, which asks only for modulus and private exponent; NIST SP 800-56B
 * rev. 2 appendix C for finding the primes again.
 */
import { randomBytes } from 'node:crypto';

import { CKA } from './abi-attributes.ts';
import { CKR } from './abi.ts';
import type { Attributes } from './attributes.ts';
import { readIntegers } from './der.ts';
import { TaFailure } from './failure.ts';

/** Each round finds the primes with probability at least 1/2. */
const MAX_ROUNDS = 64;
/** 4096 bits: beyond that a client could keep the world busy with one number. */
const MAX_NUMBER_BYTES = 512;

/**
 * Gives a private key the numbers of an RSAPrivateKey (RFC 8017 §A.1.2), trailing zeros allowed.
 *
 * @throws TaFailure ARGUMENTS_BAD when it is none
 */
export function giveRsaNumbers(attributes: Attributes, der: Uint8Array): void {
  const members = readIntegers(der);
  const [version, ...numbers] = members ?? [];
  if (version === undefined || numbers.length !== RSA_PRIVATE_NUMBERS.length) {
    throw new TaFailure(CKR.ARGUMENTS_BAD);
  }
  RSA_PRIVATE_NUMBERS.forEach((id, index) => {
    attributes.set(id, numbers[index] ?? new Uint8Array());
  });
}

const RSA_PRIVATE_NUMBERS: readonly number[] = [
  CKA.MODULUS,
  CKA.PUBLIC_EXPONENT,
  CKA.PRIVATE_EXPONENT,
  CKA.PRIME_1,
  CKA.PRIME_2,
  CKA.EXPONENT_1,
  CKA.EXPONENT_2,
  CKA.COEFFICIENT,
];

/** The members of an RSA private JWK (RFC 7518 §6.3). */
export interface RsaNumbers {
  readonly n: string;
  readonly e: string;
  readonly d: string;
  readonly p: string;
  readonly q: string;
  readonly dp: string;
  readonly dq: string;
  readonly qi: string;
}

/** @throws TaFailure GENERAL_ERROR without modulus, public or private exponent */
export function completeRsaKey(attributes: Attributes): RsaNumbers {
  const n = number(attributes, CKA.MODULUS);
  const e = number(attributes, CKA.PUBLIC_EXPONENT);
  const d = number(attributes, CKA.PRIVATE_EXPONENT);
  if (n <= 1n || n % 2n === 0n || e <= 1n || d <= 1n) throw new TaFailure(CKR.GENERAL_ERROR);
  const given = number(attributes, CKA.PRIME_1);
  const p = given > 1n && given < n && n % given === 0n ? given : findPrime(n, e, d);
  const q = n / p;
  const coefficient = number(attributes, CKA.COEFFICIENT);
  return {
    n: base64url(n),
    e: base64url(e),
    d: base64url(d),
    p: base64url(p),
    q: base64url(q),
    dp: base64url(d % (p - 1n)),
    dq: base64url(d % (q - 1n)),
    qi: base64url((coefficient * q) % p === 1n ? coefficient : power(q, p - 2n, p)),
  };
}

/** @returns `undefined` when these primes have no key with this public exponent */
export function numbersOf(p: bigint, q: bigint, e: bigint): RsaNumbers | undefined {
  const d = inverse(e, (p - 1n) * (q - 1n));
  if (d === undefined) return undefined;
  return {
    n: base64url(p * q),
    e: base64url(e),
    d: base64url(d),
    p: base64url(p),
    q: base64url(q),
    dp: base64url(d % (p - 1n)),
    dq: base64url(d % (q - 1n)),
    qi: base64url(power(q, p - 2n, p)),
  };
}

/** @throws TaFailure GENERAL_ERROR without a modulus */
export function modulusBits(attributes: Attributes): number {
  const modulus = number(attributes, CKA.MODULUS);
  if (modulus === 0n) throw new TaFailure(CKR.GENERAL_ERROR);
  return modulus.toString(2).length;
}

/** What every block and every signature of the key has. */
export function modulusBytes(attributes: Attributes): number {
  return Math.ceil(modulusBits(attributes) / 8);
}

/** 0 when there is none. */
function number(attributes: Attributes, id: number): bigint {
  const bytes = attributes.get(id) ?? new Uint8Array();
  if (bytes.byteLength > MAX_NUMBER_BYTES) throw new TaFailure(CKR.GENERAL_ERROR);
  const hex = Buffer.from(bytes).toString('hex');
  return hex === '' ? 0n : BigInt(`0x${hex}`);
}

/** A square root of 1 that is neither 1 nor -1 shares a factor with the modulus. */
function findPrime(n: bigint, e: bigint, d: bigint): bigint {
  let odd = d * e - 1n;
  // Attack: a modulus that is a prime, or a power of one, has no such root, and every round is in vain.
  const isPrime = odd % (n - 1n) === 0n;
  if (isPrime || gcd(odd, n) !== 1n) throw new TaFailure(CKR.GENERAL_ERROR);
  let twos = 0;
  while (odd % 2n === 0n) {
    odd /= 2n;
    twos += 1;
  }
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const base = BigInt(`0x${randomBytes(16).toString('hex')}`) + 2n;
    const root = rootOfOne(power(base, odd, n), twos, n);
    if (root === undefined) break;
    if (root !== 1n && root !== n - 1n) return gcd(root - 1n, n);
  }
  throw new TaFailure(CKR.GENERAL_ERROR);
}

/** @returns a square root of 1, or `undefined` when the exponents do not belong together */
function rootOfOne(start: bigint, twos: number, n: bigint): bigint | undefined {
  let value = start;
  for (let step = 0; step < twos; step += 1) {
    const square = (value * value) % n;
    if (square === 1n) return value;
    value = square;
  }
  return undefined;
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

/** @returns `undefined` when the two share a factor */
function inverse(value: bigint, modulus: bigint): bigint | undefined {
  let [rest, next] = [modulus, value];
  let [factor, nextFactor] = [0n, 1n];
  while (next !== 0n) {
    const times = rest / next;
    [rest, next] = [next, rest - times * next];
    [factor, nextFactor] = [nextFactor, factor - times * nextFactor];
  }
  return rest === 1n ? (factor + modulus) % modulus : undefined;
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

function base64url(value: bigint): string {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex').toString('base64url');
}
