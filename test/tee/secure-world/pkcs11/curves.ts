/**
 * Curves, and the parameters by which a template names them.
 *
 * OP-TEE compares EC_PARAMS byte by byte with what it knows; it does not parse DER. The RFC 8410
 * object identifier of Ed25519 is therefore refused here as there.
 *
 * Source: OP-TEE ta/pkcs11/src/processing_ec.c; RFC 5480 §2.1.1.1.
 */
import { p256, p384, p521 } from '@noble/curves/nist.js';

import { CKA } from './abi-attributes.ts';
import { CKO, CKR } from './abi.ts';
import { sameBytes, type Attributes } from './attributes.ts';
import { TaFailure } from './failure.ts';

export interface Curve {
  /** OpenSSL's name. */
  readonly name: 'prime256v1' | 'secp384r1' | 'secp521r1';
  /** Bytes of a coordinate, of a private value and of half a signature. */
  readonly bytes: number;
  /** Bits of the order. */
  readonly bits: number;
  /** The same curve in @noble/curves. */
  readonly noble: typeof p256;
  /** EC_PARAMS as a named curve. */
  readonly namedParams: Uint8Array;
}

const CURVES: readonly Curve[] = [
  {
    name: 'prime256v1',
    bytes: 32,
    bits: 256,
    noble: p256,
    namedParams: oid('2a8648ce3d030107'),
  },
  {
    name: 'secp384r1',
    bytes: 48,
    bits: 384,
    noble: p384,
    namedParams: oid('2b81040022'),
  },
  {
    name: 'secp521r1',
    bytes: 66,
    bits: 521,
    noble: p521,
    namedParams: oid('2b81040023'),
  },
];

const ED25519_PARAMS: readonly Uint8Array[] = [
  Buffer.from('130c656477617264733235353139', 'hex'),
  oid('2b06010401da470f01'),
];

/** @throws TaFailure ATTRIBUTE_TYPE_INVALID for a curve, or a way to write it, that is not known */
export function curveOf(attributes: Attributes): Curve {
  const params = attributes.get(CKA.EC_PARAMS) ?? new Uint8Array();
  const curve = CURVES.find(({ namedParams }) => sameBytes(params, namedParams));
  if (curve === undefined) throw new TaFailure(CKR.ATTRIBUTE_TYPE_INVALID);
  return curve;
}

/**
 * @throws TaFailure ATTRIBUTE_TYPE_INVALID unless EC_PARAMS says Ed25519, or is empty in a private
 *   key that was brought in
 */
export function requireEd25519(attributes: Attributes): void {
  const params = attributes.get(CKA.EC_PARAMS) ?? new Uint8Array();
  if (params.byteLength === 0 && attributes.objectClass === CKO.PRIVATE_KEY) return;
  if (!ED25519_PARAMS.some((known) => sameBytes(known, params))) {
    throw new TaFailure(CKR.ATTRIBUTE_TYPE_INVALID);
  }
}

function oid(contentHex: string): Buffer {
  const content = Buffer.from(contentHex, 'hex');
  return Buffer.concat([Uint8Array.of(0x06, content.byteLength), content]);
}
