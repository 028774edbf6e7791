/**
 * Attributes to keys that node:crypto can use. Key values pass through here and nowhere else.
 *
 * A key that OpenSSL refuses is a client's mistake, not a panic.
 *
 * Source: RFC 5915 (EC private keys), RFC 5480 (EC public keys), RFC 8037 (Ed25519 as JWK).
 */
import { createECDH, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

import { CKA } from './abi-attributes.ts';
import { CKK, CKR } from './abi.ts';
import type { Attributes } from './attributes.ts';
import { curveOf, requireEd25519, type Curve } from './curves.ts';
import { bitString, explicit, integer, octetString, readOctetString, sequence } from './der.ts';
import { TaFailure } from './failure.ts';
import type { P11Object } from './object.ts';
import { completeRsaKey } from './rsa-key.ts';

const EC_PUBLIC_KEY = Buffer.from('06072a8648ce3d0201', 'hex');

export function publicKeyOf(object: P11Object): KeyObject {
  return object.key('public', (attributes) => parsed(attributes, parsePublic));
}

export function privateKeyOf(object: P11Object): KeyObject {
  return object.key('private', (attributes) => parsed(attributes, parsePrivate));
}

/** @returns the uncompressed point of an EC public key, `04 x y` */
export function ecPointOf(attributes: Attributes): Uint8Array {
  return readOctetString(required(attributes, CKA.EC_POINT)) ?? refuse();
}

/**
 * @returns the uncompressed point of a private value
 * @throws Error of OpenSSL for 0 and for a value above the order
 */
export function ecPublicPoint({ name, bytes }: Curve, value: Uint8Array): Buffer {
  const start = value.findIndex((byte) => byte !== 0);
  const digits = start === -1 ? new Uint8Array() : value.subarray(start);
  if (digits.byteLength === 0 || digits.byteLength > bytes) {
    throw new TaFailure(CKR.ATTRIBUTE_TYPE_INVALID);
  }
  const pair = createECDH(name);
  pair.setPrivateKey(padded(digits, bytes));
  return pair.getPublicKey();
}

/** A private value or a secret. @throws TaFailure GENERAL_ERROR when the key has none */
export function required(attributes: Attributes, id: number): Uint8Array {
  const value = attributes.get(id);
  return value === undefined || value.byteLength === 0 ? refuse() : value;
}

/** `value` with leading zeros, or without some, to be exactly `bytes` long. */
export function padded(value: Uint8Array, bytes: number): Buffer {
  const start = value.findIndex((byte) => byte !== 0);
  const digits = start === -1 ? new Uint8Array() : value.subarray(start);
  if (digits.byteLength > bytes) refuse();
  return Buffer.concat([Buffer.alloc(bytes - digits.byteLength), digits]);
}

/** Runs OpenSSL. @throws TaFailure with `rv` when it refuses */
export function attempt<T>(rv: number, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof TaFailure || !isCryptoError(cause)) throw cause;
    throw new TaFailure(rv, { cause });
  }
}

/**
 * Node gives some of OpenSSL's errors a code and some none, but those are plain errors, which a
 * mistake of ours (a TypeError, a RangeError) is not.
 */
function isCryptoError(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  const code = 'code' in cause ? String(cause.code) : '';
  return cause.constructor === Error || /^ERR_(?:OSSL|CRYPTO)_/u.test(code);
}

function parsed(attributes: Attributes, parse: (from: Attributes) => KeyObject): KeyObject {
  return attempt(CKR.GENERAL_ERROR, () => parse(attributes));
}

function parsePublic(attributes: Attributes): KeyObject {
  switch (attributes.keyType) {
    case CKK.RSA: {
      const n = base64url(required(attributes, CKA.MODULUS));
      const e = base64url(required(attributes, CKA.PUBLIC_EXPONENT));
      return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
    }
    case CKK.EC: {
      const algorithm = sequence(EC_PUBLIC_KEY, curveOf(attributes).namedParams);
      const key = sequence(algorithm, bitString(ecPointOf(attributes)));
      return createPublicKey({ key, format: 'der', type: 'spki' });
    }
    case CKK.EC_EDWARDS: {
      requireEd25519(attributes);
      const x = base64url(required(attributes, CKA.EC_POINT));
      return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    }
    default:
      return refuse();
  }
}

function parsePrivate(attributes: Attributes): KeyObject {
  switch (attributes.keyType) {
    case CKK.RSA:
      return createPrivateKey({
        key: { kty: 'RSA', ...completeRsaKey(attributes) },
        format: 'jwk',
      });
    case CKK.EC:
      return ecPrivateKey(curveOf(attributes), required(attributes, CKA.VALUE));
    case CKK.EC_EDWARDS: {
      requireEd25519(attributes);
      const d = base64url(required(attributes, CKA.VALUE));
      const x = base64url(required(attributes, CKA.EC_POINT));
      return createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d, x }, format: 'jwk' });
    }
    default:
      return refuse();
  }
}

/** OpenSSL takes 0, or the order, for a private key and signs with it. */
function ecPrivateKey(curve: Curve, value: Uint8Array): KeyObject {
  const version = integer(Uint8Array.of(1));
  const secret = padded(value, curve.bytes);
  if (!curve.noble.utils.isValidSecretKey(secret)) refuse();
  const der = sequence(version, octetString(secret), explicit(0, curve.namedParams));
  return createPrivateKey({ key: der, format: 'der', type: 'sec1' });
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

function refuse(): never {
  throw new TaFailure(CKR.GENERAL_ERROR);
}
