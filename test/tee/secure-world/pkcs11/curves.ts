/**
 * Curves, and the parameters by which a template names them.
 *
 * OP-TEE compares EC_PARAMS byte by byte with what it knows, a curve's name or all of its numbers; it
 * does not parse DER. The RFC 8410 object identifier of Ed25519 is therefore refused here as there.
 *
 * Source: OP-TEE ta/pkcs11/src/processing_ec.c; RFC 5480 §2.1.1.1; SEC 2 v2.0 §2.2 and §2.3 for P-192
 * and P-224, which @noble/curves has no name for.
 */
import { ecdsa, weierstrass } from '@noble/curves/abstract/weierstrass.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { sha256 } from '@noble/hashes/sha2.js';

import { CKA } from './abi-attributes.ts';
import { CKO, CKR } from './abi.ts';
import { sameBytes, type Attributes } from './attributes.ts';
import { explicitParams } from './curve-parameters.ts';
import { TaFailure } from './failure.ts';

export interface Curve {
  /** OpenSSL's name. */
  readonly name: 'prime192v1' | 'secp224r1' | 'prime256v1' | 'secp384r1' | 'secp521r1';
  /** Bytes of a coordinate, of a private value and of half a signature. */
  readonly bytes: number;
  /** Bits of the order. */
  readonly bits: number;
  /** The same curve in @noble/curves. */
  readonly noble: typeof p256;
  /** EC_PARAMS as a named curve. */
  readonly namedParams: Uint8Array;
  /** EC_PARAMS as the numbers of the curve. */
  readonly explicitParams: Uint8Array;
}

const p192 = ecdsa(
  weierstrass({
    p: 0xfffffffffffffffffffffffffffffffeffffffffffffffffn,
    a: 0xfffffffffffffffffffffffffffffffefffffffffffffffcn,
    b: 0x64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1n,
    n: 0xffffffffffffffffffffffff99def836146bc9b1b4d22831n,
    h: 1n,
    Gx: 0x188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012n,
    Gy: 0x07192b95ffc8da78631011ed6b24cdd573f977a11e794811n,
  }),
  sha256,
);

const p224 = ecdsa(
  weierstrass({
    p: 0xffffffffffffffffffffffffffffffff000000000000000000000001n,
    a: 0xfffffffffffffffffffffffffffffffefffffffffffffffffffffffen,
    b: 0xb4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4n,
    n: 0xffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3dn,
    h: 1n,
    Gx: 0xb70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21n,
    Gy: 0xbd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34n,
  }),
  sha256,
);

const CURVES: readonly Curve[] = [
  curve('prime192v1', 192, p192, {
    oid: '2a8648ce3d030101',
    seed: '3045ae6fc8422f64ed579528d38120eae12196d5',
  }),
  curve('secp224r1', 224, p224, {
    oid: '2b81040021',
    seed: 'bd71344799d5c7fcdc45b59fa3b9ab8f6a948bc5',
  }),
  curve('prime256v1', 256, p256, {
    oid: '2a8648ce3d030107',
    seed: 'c49d360886e704936a6678e1139d26b7819f7e90',
  }),
  curve('secp384r1', 384, p384, {
    oid: '2b81040022',
    seed: 'a335926aa319a27a1d00896a6773a4827acdac73',
  }),
  curve('secp521r1', 521, p521, {
    oid: '2b81040023',
    seed: 'd09e8800291cb85396cc6717393284aaa0da64ba',
  }),
];

const ED25519_PARAMS: readonly Uint8Array[] = [
  Buffer.from('130c656477617264733235353139', 'hex'),
  oid('2b06010401da470f01'),
];

/** @throws TaFailure ATTRIBUTE_TYPE_INVALID for a curve, or a way to write it, that is not known */
export function curveOf(attributes: Attributes): Curve {
  const params = attributes.get(CKA.EC_PARAMS) ?? new Uint8Array();
  const found = CURVES.find(
    (known) => sameBytes(params, known.namedParams) || sameBytes(params, known.explicitParams),
  );
  if (found === undefined) throw new TaFailure(CKR.ATTRIBUTE_TYPE_INVALID);
  return found;
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

function curve(
  name: Curve['name'],
  bits: number,
  noble: typeof p256,
  { oid: oidHex, seed }: { readonly oid: string; readonly seed: string },
): Curve {
  const bytes = Math.ceil(bits / 8);
  const explicit = explicitParams(noble.Point.CURVE(), bytes, Buffer.from(seed, 'hex'));
  return { name, bytes, bits, noble, namedParams: oid(oidHex), explicitParams: explicit };
}

function oid(contentHex: string): Buffer {
  const content = Buffer.from(contentHex, 'hex');
  return Buffer.concat([Uint8Array.of(0x06, content.byteLength), content]);
}
