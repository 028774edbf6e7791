/** Public keys as a token stores them, read into what node:crypto understands. */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

import type graphene from 'graphene-pk11';

import { CKA, CKK, type KeyType } from './cryptoki.ts';

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
  const type = readKeyType(object);
  if (type === undefined) return undefined;
  const jwk = JWK_READERS[type](object);
  if (jwk === undefined) return undefined;
  return { type, publicKey: createPublicKey({ key: jwk, format: 'jwk' }) };
}

function readKeyType(object: graphene.SessionObject): KeyType | undefined {
  const number = object.getAttribute(CKA.KEY_TYPE).readUInt32LE(0);
  if (number === CKK.RSA) return 'rsa-2048';
  if (number === CKK.EC) return 'ec-p256';
  return number === CKK.EC_EDWARDS ? 'ed25519' : undefined;
}

const JWK_READERS: Readonly<
  Record<KeyType, (object: graphene.SessionObject) => JsonWebKey | undefined>
> = {
  'rsa-2048': (object) => {
    const n = object.getAttribute(CKA.MODULUS);
    const e = object.getAttribute(CKA.PUBLIC_EXPONENT);
    if (n.length !== 256 || e.length === 0) return undefined;
    return { kty: 'RSA', n: base64url(n), e: base64url(e) };
  },
  'ec-p256': (object) => {
    const point = octets(object.getAttribute(CKA.EC_POINT), 65);
    if (point?.[0] !== 0x04) return undefined;
    const [x, y] = [point.subarray(1, 33), point.subarray(33)];
    return { kty: 'EC', crv: 'P-256', x: base64url(x), y: base64url(y) };
  },
  ed25519: (object) => {
    const point = octets(object.getAttribute(CKA.EC_POINT), 32);
    return point && { kty: 'OKP', crv: 'Ed25519', x: base64url(point) };
  },
};

/** The `length` octets of a point, with or without the two bytes of a DER OCTET STRING before them. */
function octets(point: Buffer, length: number): Buffer | undefined {
  if (point.length === length) return point;
  const wrapped = point.length === length + 2 && point[0] === 0x04 && point[1] === length;
  return wrapped ? point.subarray(2) : undefined;
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url');
}
