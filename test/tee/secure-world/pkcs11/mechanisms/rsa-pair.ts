/** RSA pairs: PKCS#11 v2.40 §2.1.4. */
import { generateKeyPairSync, generatePrimeSync } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKR } from '../abi.ts';
import type { Attributes } from '../attributes.ts';
import { TaFailure } from '../failure.ts';
import { attempt } from '../keys.ts';
import type { Mode } from '../mode.ts';
import { numbersOf, type RsaNumbers } from '../rsa-key.ts';

const MIN_MODULUS_BITS = 256;
const MAX_MODULUS_BITS = 4096;
const BYTE_BITS = 8;
/** OpenSSL makes no pair with a shorter modulus. */
const MIN_OPENSSL_BITS = 512;
/** OP-TEE makes two primes of as many whole bytes each. */
const STRICT_STEP_BITS = 16;
const DEFAULT_EXPONENT = Uint8Array.of(1, 0, 1);

export function generateRsaPair(publicKey: Attributes, privateKey: Attributes, mode: Mode): void {
  const modulusLength = publicKey.word(CKA.MODULUS_BITS);
  if (modulusLength === undefined) throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
  // OP-TEE's TA counts in bytes, and what makes the pair in bits.
  const isFar = modulusLength <= MIN_MODULUS_BITS - BYTE_BITS || modulusLength > MAX_MODULUS_BITS;
  if (isFar) throw new TaFailure(CKR.KEY_SIZE_RANGE);
  if (modulusLength < MIN_MODULUS_BITS) throw new TaFailure(CKR.GENERAL_ERROR);
  if (mode === 'strict' && modulusLength % STRICT_STEP_BITS !== 0) {
    throw new TaFailure(CKR.ARGUMENTS_BAD);
  }
  const numbers = makeNumbers(modulusLength, exponentOf(publicKey));
  const take = (to: Attributes, id: number, value: string): void => {
    to.set(id, Buffer.from(value, 'base64url'));
  };
  for (const key of [publicKey, privateKey]) {
    take(key, CKA.MODULUS, numbers.n);
    take(key, CKA.PUBLIC_EXPONENT, numbers.e);
  }
  take(privateKey, CKA.PRIVATE_EXPONENT, numbers.d);
  take(privateKey, CKA.PRIME_1, numbers.p);
  take(privateKey, CKA.PRIME_2, numbers.q);
  take(privateKey, CKA.EXPONENT_1, numbers.dp);
  take(privateKey, CKA.EXPONENT_2, numbers.dq);
  take(privateKey, CKA.COEFFICIENT, numbers.qi);
}

function makeNumbers(modulusLength: number, publicExponent: number): RsaNumbers {
  if (modulusLength < MIN_OPENSSL_BITS) return makeShort(modulusLength, BigInt(publicExponent));
  const { privateKey } = attempt(CKR.GENERAL_ERROR, () =>
    generateKeyPairSync('rsa', { modulusLength, publicExponent }),
  );
  const { n, e, d, p, q, dp, dq, qi } = privateKey.export({ format: 'jwk' });
  const numbers = { n, e, d, p, q, dp, dq, qi };
  if (!isComplete(numbers)) throw new Error('an RSA private JWK has every number');
  return numbers;
}

function isComplete(
  numbers: Readonly<Record<keyof RsaNumbers, string | undefined>>,
): numbers is RsaNumbers {
  return Object.values(numbers).every((value) => value !== undefined);
}

/** OpenSSL's primes, put together here: such a key protects nothing, but OP-TEE has it. */
function makeShort(modulusBits: number, e: bigint): RsaNumbers {
  const half = modulusBits >> 1;
  for (;;) {
    const p = generatePrimeSync(modulusBits - half, { bigint: true });
    const q = generatePrimeSync(half, { bigint: true });
    const isLong = (p * q).toString(2).length === modulusBits;
    const numbers = isLong && p !== q ? numbersOf(p, q, e) : undefined;
    if (numbers !== undefined) return numbers;
  }
}

function exponentOf(publicKey: Attributes): number {
  const given = publicKey.get(CKA.PUBLIC_EXPONENT);
  const bytes = given === undefined || given.byteLength === 0 ? DEFAULT_EXPONENT : given;
  const exponent = Number(BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
  const isUsable = exponent > 1 && exponent % 2 === 1 && exponent <= 0xffff_ffff;
  if (!isUsable) throw new TaFailure(CKR.ARGUMENTS_BAD);
  return exponent;
}
