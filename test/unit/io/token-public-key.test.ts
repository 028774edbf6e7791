import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, test } from 'node:test';

import type graphene from 'graphene-pk11';

import { CKA, CKK } from '../../../agent/io/token/cryptoki.ts';
import { readPublicKey } from '../../../agent/io/token/public-key.ts';

/** Enough of an object to read attributes from. */
const object = (attributes: Readonly<Record<number, Buffer>>): graphene.SessionObject => {
  const getAttribute = (type: number): Buffer => attributes[type] ?? Buffer.alloc(0);
  return { getAttribute } as unknown as graphene.SessionObject;
};
const ulong = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(value);
  return bytes;
};
const part = (key: KeyObject, name: 'x' | 'y' | 'n' | 'e'): Buffer =>
  Buffer.from(key.export({ format: 'jwk' })[name] ?? '', 'base64url');

const ed25519 = generateKeyPairSync('ed25519').publicKey;
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
const point = Buffer.concat([Buffer.from([4]), part(ec, 'x'), part(ec, 'y')]);

describe('public key objects (PKCS#11 v2.40 §2.1, §2.3)', () => {
  test('are read with the point in a DER OCTET STRING, and bare as OP-TEE stores Ed25519', () => {
    const bare = part(ed25519, 'x');
    for (const stored of [bare, Buffer.concat([Buffer.from([0x04, 32]), bare])]) {
      const read = readPublicKey(
        object({ [CKA.KEY_TYPE]: ulong(CKK.EC_EDWARDS), [CKA.EC_POINT]: stored }),
      );
      assert.equal(read?.type, 'ed25519');
      assert.ok(read.publicKey.equals(ed25519));
    }
    for (const stored of [point, Buffer.concat([Buffer.from([0x04, 65]), point])]) {
      const read = readPublicKey(object({ [CKA.KEY_TYPE]: ulong(CKK.EC), [CKA.EC_POINT]: stored }));
      assert.equal(read?.type, 'ec-p256');
      assert.ok(read.publicKey.equals(ec));
    }
  });

  test('are read from modulus and exponent', () => {
    const read = readPublicKey(
      object({
        [CKA.KEY_TYPE]: ulong(CKK.RSA),
        [CKA.MODULUS]: part(rsa, 'n'),
        [CKA.PUBLIC_EXPONENT]: part(rsa, 'e'),
      }),
    );
    assert.equal(read?.type, 'rsa-2048');
    assert.ok(read.publicKey.equals(rsa));
  });

  test('that are half written, too small or of another kind are none of ours', () => {
    const others = [
      { [CKA.KEY_TYPE]: ulong(CKK.EC) },
      { [CKA.KEY_TYPE]: ulong(CKK.EC), [CKA.EC_POINT]: point.subarray(1) },
      { [CKA.KEY_TYPE]: ulong(CKK.EC_EDWARDS), [CKA.EC_POINT]: Buffer.alloc(57) },
      {
        [CKA.KEY_TYPE]: ulong(CKK.RSA),
        [CKA.MODULUS]: Buffer.alloc(128, 1),
        [CKA.PUBLIC_EXPONENT]: Buffer.from([1, 0, 1]),
      },
      { [CKA.KEY_TYPE]: ulong(0x13), [CKA.VALUE]: Buffer.alloc(16) },
    ];
    for (const attributes of others) assert.equal(readPublicKey(object(attributes)), undefined);
  });
});
