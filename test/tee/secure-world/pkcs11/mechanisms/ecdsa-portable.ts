/**
 * ECDSA without an addon: for where there is no compiler.
 *
 * The point multiplication is OpenSSL's, by way of an ECDH key, and only the scalar arithmetic is
 * done here, in time that depends on the key; verification is @noble/curves'.
 */
import { createECDH, randomBytes } from 'node:crypto';

import { invert } from '@noble/curves/abstract/modular.js';

import { CKA } from '../abi-attributes.ts';
import { curveOf, type Curve } from '../curves.ts';
import { ecPointOf, privateKeyOf, publicKeyOf, required } from '../keys.ts';
import type { EcdsaPrimitive } from './ecdsa-primitive.ts';

/** The digest is given, and a signature is what the key made: also one with a large s. */
const AS_GIVEN = { prehash: false, lowS: false } as const;

/** A key is parsed first, as for the addon: what is refused there gets no further here either. */
export const PORTABLE_ECDSA: EcdsaPrimitive = {
  signer: (object) => {
    privateKeyOf(object);
    const curve = curveOf(object.attributes);
    const secret = toBigInt(required(object.attributes, CKA.VALUE));
    return (digest) => signDigest(curve, secret, digest);
  },
  verifier: (object) => {
    publicKeyOf(object);
    const { noble } = curveOf(object.attributes);
    const point = ecPointOf(object.attributes);
    return (digest, signature) => noble.verify(signature, digest, point, AS_GIVEN);
  },
};

/** FIPS 186-5 §6.4.1. */
function signDigest(curve: Curve, secret: bigint, digest: Uint8Array): Buffer {
  const { name, bytes, bits } = curve;
  const order = curve.noble.Point.Fn.ORDER;
  const extraBits = Math.max(0, 8 * digest.byteLength - bits);
  const z = toBigInt(digest) >> BigInt(extraBits);
  const mask = (1n << BigInt(bits)) - 1n;
  const ephemeral = createECDH(name);
  for (;;) {
    const nonce = toBigInt(randomBytes(bytes)) & mask;
    if (nonce === 0n || nonce >= order) continue;
    ephemeral.setPrivateKey(toBytes(nonce, bytes));
    const r = toBigInt(ephemeral.getPublicKey().subarray(1, 1 + bytes)) % order;
    const s = (invert(nonce, order) * (z + r * secret)) % order;
    if (r !== 0n && s !== 0n) return Buffer.concat([toBytes(r, bytes), toBytes(s, bytes)]);
  }
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function toBytes(value: bigint, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * bytes, '0'), 'hex');
}
