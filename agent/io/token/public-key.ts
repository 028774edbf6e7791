/** Public keys as a token stores them, read into what node:crypto understands. */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

import type graphene from 'graphene-pk11';

import { CKA, CKK } from './cryptoki.ts';
import { KEY_TYPES, type KeyType } from './key-types.ts';

/**
 * Reads a public key object.
 *
 * Source: PKCS#11 v2.40 §2.1.2, §2.3.3 and v3.0 §2.3.5. EC_POINT is a DER OCTET STRING; OP-TEE stores
 * the point of Ed25519 bare, which is told apart by its length.
 *
 * @returns `undefined` for a kind of key that is not ours, or an object that was half written
 */
export function readPublicKey(
  object: graphene.SessionObject,
): { type: KeyType; publicKey: KeyObject } | undefined {
  const number = object.getAttribute(CKA.KEY_TYPE).readUInt32LE(0);
  if (number === CKK.RSA) return readRsa(object);
  if (number === CKK.EC_EDWARDS) return readEdwards(object);
  return number === CKK.EC ? readEc(object) : undefined;
}

type Read = ReturnType<typeof readPublicKey>;

const RSA_TYPES: Readonly<Record<number, KeyType>> = {
  256: 'rsa-2048',
  384: 'rsa-3072',
  512: 'rsa-4096',
};

function readRsa(object: graphene.SessionObject): Read {
  const n = object.getAttribute(CKA.MODULUS);
  const e = object.getAttribute(CKA.PUBLIC_EXPONENT);
  const type = RSA_TYPES[n.length];
  if (type === undefined || e.length === 0) return undefined;
  return read(type, { kty: 'RSA', n: base64url(n), e: base64url(e) });
}

const CURVES = [
  { type: 'ec-p256', crv: 'P-256', coordinateBytes: 32 },
  { type: 'ec-p384', crv: 'P-384', coordinateBytes: 48 },
] as const;

/** The curve shows in the length of the point: no other that we make is as long. */
function readEc(object: graphene.SessionObject): Read {
  const stored = object.getAttribute(CKA.EC_POINT);
  for (const { type, crv, coordinateBytes } of CURVES) {
    const point = octets(stored, 1 + 2 * coordinateBytes);
    if (point?.[0] !== 0x04 || !isOn(object, type)) continue;
    const [x, y] = [point.subarray(1, 1 + coordinateBytes), point.subarray(1 + coordinateBytes)];
    return read(type, { kty: 'EC', crv, x: base64url(x), y: base64url(y) });
  }
  return undefined;
}

/** Other curves have points of the same length; a token that keeps no parameters is believed. */
function isOn(object: graphene.SessionObject, type: 'ec-p256' | 'ec-p384'): boolean {
  const stored = object.getAttribute(CKA.EC_PARAMS);
  const expected = KEY_TYPES[type].forms[0]?.paramsEC;
  return stored.length === 0 || !expected || expected.equals(stored);
}

function readEdwards(object: graphene.SessionObject): Read {
  const point = octets(object.getAttribute(CKA.EC_POINT), 32);
  if (point === undefined) return undefined;
  return read('ed25519', { kty: 'OKP', crv: 'Ed25519', x: base64url(point) });
}

function read(type: KeyType, jwk: JsonWebKey): { type: KeyType; publicKey: KeyObject } {
  return { type, publicKey: createPublicKey({ key: jwk, format: 'jwk' }) };
}

/** The `length` octets of a point, with or without the two bytes of a DER OCTET STRING before them. */
function octets(point: Buffer, length: number): Buffer | undefined {
  if (point.length === length) return point;
  const wrapped = point.length === length + 2 && point[0] === 0x04 && point[1] === length;
  return wrapped ? point.subarray(2) : undefined;
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url');
}
