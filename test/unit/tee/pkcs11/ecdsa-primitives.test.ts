/** The addon and its portable substitute judge each other: same keys, same signatures, same refusals. */
import assert from 'node:assert/strict';
import { createECDH, createSecretKey, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKK, CKO, CKR } from '../../../tee/secure-world/pkcs11/abi.ts';
import { Attributes } from '../../../tee/secure-world/pkcs11/attributes.ts';
import { curveOf } from '../../../tee/secure-world/pkcs11/curves.ts';
import { octetString } from '../../../tee/secure-world/pkcs11/der.ts';
import { TaFailure } from '../../../tee/secure-world/pkcs11/failure.ts';
import { padded } from '../../../tee/secure-world/pkcs11/keys.ts';
import { loadNativeEcdsa } from '../../../tee/secure-world/pkcs11/mechanisms/ecdsa-native.ts';
import { PORTABLE_ECDSA } from '../../../tee/secure-world/pkcs11/mechanisms/ecdsa-portable.ts';
import { P11Object } from '../../../tee/secure-world/pkcs11/object.ts';
import { P256, P384, P521 } from './ta-client.ts';

const CURVES = { 'P-256': P256, 'P-384': P384, 'P-521': P521 } as const;
const native = loadNativeEcdsa();
const skip = native === undefined && 'not built: make -C test/tee/secure-world/native';
const BOTH = native === undefined ? [PORTABLE_ECDSA] : [PORTABLE_ECDSA, native];

function ecKey(objectClass: number, params: Uint8Array, id: number, value: Uint8Array): P11Object {
  const attributes = new Attributes([
    { id: CKA.EC_PARAMS, value: params },
    { id, value },
  ]);
  attributes.setWord(CKA.CLASS, objectClass);
  attributes.setWord(CKA.KEY_TYPE, CKK.EC);
  return new P11Object(attributes);
}

function pairOn(params: Uint8Array) {
  const { name, bytes, noble } = curveOf(new Attributes([{ id: CKA.EC_PARAMS, value: params }]));
  const pair = createECDH(name);
  const point = octetString(pair.generateKeys());
  return {
    bytes,
    order: noble.Point.Fn.ORDER,
    privateKey: ecKey(CKO.PRIVATE_KEY, params, CKA.VALUE, padded(pair.getPrivateKey(), bytes)),
    publicKey: ecKey(CKO.PUBLIC_KEY, params, CKA.EC_POINT, point),
  };
}

function toBytes(value: bigint, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * bytes, '0'), 'hex');
}

function refusesKey(run: () => unknown): void {
  assert.throws(run, (cause) => cause instanceof TaFailure && cause.rv === CKR.GENERAL_ERROR);
}

for (const [name, params] of Object.entries(CURVES)) {
  describe(`ECDSA on ${name} (FIPS 186-5 §6.4)`, () => {
    const { bytes, order, privateKey, publicKey } = pairOn(params);

    test('what one signs the other verifies, whatever the length of the digest', { skip }, () => {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: 1, maxLength: bytes }), (digest) => {
          for (const signer of BOTH) {
            const signature = signer.signer(privateKey)(digest);
            assert.equal(signature.byteLength, 2 * bytes);
            for (const judge of BOTH) assert.ok(judge.verifier(publicKey)(digest, signature));
          }
        }),
        { numRuns: 20 },
      );
    });

    test('one bit of a signature or a digest makes it wrong to both', () => {
      const digest = randomBytes(32);
      for (const signer of BOTH) {
        const signature = signer.signer(privateKey)(digest);
        fc.assert(
          fc.property(fc.nat(16 * bytes - 1), (bit) => {
            const changed = Uint8Array.from(signature);
            changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
            for (const judge of BOTH) assert.ok(!judge.verifier(publicKey)(digest, changed));
          }),
          { numRuns: 20 },
        );
        digest.writeUInt8(digest.readUInt8(0) ^ 1, 0);
        for (const judge of BOTH) assert.ok(!judge.verifier(publicKey)(digest, signature));
        digest.writeUInt8(digest.readUInt8(0) ^ 1, 0);
      }
    });

    test('numbers that no signature has are wrong to both, and no error', () => {
      const digest = randomBytes(32);
      const signature = PORTABLE_ECDSA.signer(privateKey)(digest);
      const largest = (1n << BigInt(8 * bytes)) - 1n;
      for (const value of [0n, order, order + 1n, largest].map((each) => toBytes(each, bytes))) {
        const [r, s] = [signature.subarray(0, bytes), signature.subarray(bytes)];
        for (const judge of BOTH) {
          const verify = judge.verifier(publicKey);
          assert.ok(verify(digest, Buffer.concat([r, s])));
          assert.ok(!verify(digest, Buffer.concat([value, s])));
          assert.ok(!verify(digest, Buffer.concat([r, value])));
        }
      }
    });

    test('both refuse a private value outside the order, and a point off the curve', () => {
      const off = Buffer.alloc(1 + 2 * bytes, 1);
      off.writeUInt8(4, 0);
      for (const primitive of BOTH) {
        for (const value of [0n, order]) {
          const key = ecKey(CKO.PRIVATE_KEY, params, CKA.VALUE, toBytes(value, bytes));
          refusesKey(() => primitive.signer(key));
        }
        const key = ecKey(CKO.PUBLIC_KEY, params, CKA.EC_POINT, octetString(off));
        refusesKey(() => primitive.verifier(key));
      }
    });
  });
}

test('a key is parsed once, and again after its object was destroyed or its user logged out', () => {
  const object = ecKey(CKO.SECRET_KEY, P256, CKA.VALUE, randomBytes(32));
  let parsed = 0;
  const parse = () => {
    parsed += 1;
    return createSecretKey(randomBytes(32));
  };
  assert.equal(object.key('secret', parse), object.key('secret', parse));
  assert.equal(parsed, 1);
  object.forgetKeys();
  object.key('secret', parse);
  assert.equal(parsed, 2);
  object.destroy();
  object.key('secret', parse);
  assert.equal(parsed, 3);
});
