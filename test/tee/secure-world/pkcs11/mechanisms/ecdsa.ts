/**
 * ECDSA and its keys: PKCS#11 v2.40 §2.3.
 *
 * node:crypto cannot sign a digest that it did not compute. For CKM_ECDSA the point multiplication is
 * OpenSSL's, by way of an ECDH key, and only the scalar arithmetic is done here; verification is
 * @noble/curves'.
 */
import { createECDH, randomBytes } from 'node:crypto';

import { invert } from '@noble/curves/abstract/modular.js';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import type { Attributes } from '../attributes.ts';
import { curveOf, type Curve } from '../curves.ts';
import { octetString } from '../der.ts';
import { TaFailure } from '../failure.ts';
import { ecPointOf, padded, privateKeyOf, publicKeyOf, required } from '../keys.ts';
import type { Mechanism, Signer, Start, Verifier } from '../processing.ts';
import { SHA1, SHA224, SHA256, SHA384, SHA512, type Hash } from './hashes.ts';
import { hashingSigner, hashingVerifier } from './hash-and-sign.ts';
import { requireNone } from './parameters.ts';

const keyTypes = [CKK.EC];
const IEEE_P1363 = { dsaEncoding: 'ieee-p1363' } as const;
/** The digest is given, and a signature is what the key made: also one with a large s. */
const AS_GIVEN = { prehash: false, lowS: false } as const;

export const ECDSA: readonly Mechanism[] = [
  { id: CKM.EC_KEY_PAIR_GEN, keyTypes, generatePair },
  { id: CKM.ECDSA, keyTypes, sign: digestSigner, verify: digestVerifier },
  hashing(CKM.ECDSA_SHA1, SHA1),
  hashing(CKM.ECDSA_SHA224, SHA224),
  hashing(CKM.ECDSA_SHA256, SHA256),
  hashing(CKM.ECDSA_SHA384, SHA384),
  hashing(CKM.ECDSA_SHA512, SHA512),
];

function hashing(id: number, { name }: Hash): Mechanism {
  return {
    id,
    keyTypes,
    sign: ({ parameter, key }) => {
      requireNone(parameter);
      const size = 2 * curveOf(key.attributes).bytes;
      return hashingSigner(name, privateKeyOf(key), size, IEEE_P1363);
    },
    verify: ({ parameter, key }) => {
      requireNone(parameter);
      const size = 2 * curveOf(key.attributes).bytes;
      return hashingVerifier(name, publicKeyOf(key), size, IEEE_P1363);
    },
  };
}

function digestSigner({ parameter, key }: Start): Signer {
  requireNone(parameter);
  const curve = curveOf(key.attributes);
  const secret = toBigInt(required(key.attributes, CKA.VALUE));
  return {
    does: 'sign',
    signatureBytes: 2 * curve.bytes,
    sign: (digest) => signDigest(curve, secret, digest),
  };
}

function digestVerifier({ parameter, key }: Start): Verifier {
  requireNone(parameter);
  const curve = curveOf(key.attributes);
  // OpenSSL looks at the point first: a point that is off the curve never gets to a verification.
  publicKeyOf(key);
  const point = ecPointOf(key.attributes);
  return {
    does: 'verify',
    signatureBytes: 2 * curve.bytes,
    verify: (digest, signature) =>
      curve.noble.verify(signature, leftmost(curve, digest), point, AS_GIVEN),
  };
}

/**
 * FIPS 186-5 §6.4.1. Not constant-time: this is an emulator.
 *
 * @param digest - what the caller says the hash is; any length
 * @returns r then s, each as long as the curve's order
 */
export function signDigest(curve: Curve, secret: bigint, digest: Uint8Array): Buffer {
  const { name, bytes, bits } = curve;
  const order = curve.noble.Point.Fn.ORDER;
  const input = leftmost(curve, digest);
  const extraBits = Math.max(0, 8 * input.byteLength - bits);
  const z = toBigInt(input) >> BigInt(extraBits);
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

/** OP-TEE cuts a digest that is longer than the order before it asks for a signature. */
function leftmost(curve: Curve, digest: Uint8Array): Uint8Array {
  if (digest.byteLength === 0) throw new TaFailure(CKR.FUNCTION_FAILED);
  return digest.subarray(0, curve.bytes);
}

function generatePair(publicKey: Attributes, privateKey: Attributes): void {
  const curve = curveOf(publicKey);
  const pair = createECDH(curve.name);
  const point = octetString(pair.generateKeys());
  publicKey.set(CKA.EC_POINT, point);
  privateKey.set(CKA.EC_PARAMS, required(publicKey, CKA.EC_PARAMS));
  privateKey.set(CKA.VALUE, padded(pair.getPrivateKey(), curve.bytes));
  privateKey.set(CKA.HIDDEN_EC_POINT, point);
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function toBytes(value: bigint, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * bytes, '0'), 'hex');
}
