import assert from 'node:assert/strict';
import {
  createPrivateKey,
  generateKeyPairSync,
  sign as nodeSign,
  type JsonWebKey,
} from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, mechanism, P256, TestTee, u32, type TemplateValue } from './ta-client.ts';

const EDWARDS_TYPE = [CKA.KEY_TYPE, CKK.EC_EDWARDS] as const;

function rsaJwk(): JsonWebKey {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  return privateKey.export({ format: 'jwk' });
}

describe('importing private keys', () => {
  const message = Buffer.from('message');
  const value = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');

  test('an RSA key signs with and without its primes (§2.1.3)', () => {
    const { client, session } = new TestTee().connectUser();
    const jwk = rsaJwk();
    const needed: readonly (readonly [number, TemplateValue])[] = [
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [CKA.KEY_TYPE, CKK.RSA],
      [CKA.SIGN, true],
      [CKA.MODULUS, value(jwk.n)],
      [CKA.PUBLIC_EXPONENT, value(jwk.e)],
      [CKA.PRIVATE_EXPONENT, value(jwk.d)],
    ];
    const primes: typeof needed = [
      [CKA.PRIME_1, value(jwk.p)],
      [CKA.PRIME_2, value(jwk.q)],
      [CKA.COEFFICIENT, value(jwk.qi)],
    ];
    const sign = mechanism(CKM.SHA256_RSA_PKCS);

    const full = client.create(session, attributes(...needed, ...primes));
    const bare = client.create(session, attributes(...needed));

    const signature = client.sign(session, full, sign, message);
    assert.deepEqual(client.sign(session, bare, sign, message), signature);
    const judge = createPrivateKey({ key: jwk, format: 'jwk' });
    assert.deepEqual(signature, nodeSign('sha256', message, judge));
  });

  test('an Ed25519 key signs without naming its curve', () => {
    const { client, session } = new TestTee().connectUser();
    const judge = generateKeyPairSync('ed25519').privateKey;
    const jwk = judge.export({ format: 'jwk' });
    const key = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.PRIVATE_KEY],
        EDWARDS_TYPE,
        [CKA.VALUE, value(jwk.d)],
        [CKA.EC_POINT, value(jwk.x)],
        [CKA.SIGN, true],
      ),
    );
    const signature = client.sign(session, key, mechanism(CKM.EDDSA), message);
    assert.deepEqual(signature, nodeSign(null, message, judge));
  });

  test('an RSA key whose numbers do not belong together is refused when it is used', () => {
    const { client, session } = new TestTee().connectUser();
    const jwk = rsaJwk();
    const key = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.PRIVATE_KEY],
        [CKA.KEY_TYPE, CKK.RSA],
        [CKA.SIGN, true],
        [CKA.MODULUS, value(jwk.n)],
        [CKA.PUBLIC_EXPONENT, value(jwk.e)],
        [CKA.PRIVATE_EXPONENT, Buffer.from('1234567891', 'hex')],
      ),
    );
    const control = Buffer.concat([u32(session, key), mechanism(CKM.SHA256_RSA_PKCS)]);
    client.refused(CKR.GENERAL_ERROR, CMD.SIGN_INIT, control);
  });

  test('a public key that is no point of its curve verifies nothing', () => {
    const { client, session } = new TestTee().connectUser();
    const key = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.KEY_TYPE, CKK.EC],
        [CKA.EC_PARAMS, P256],
        [CKA.EC_POINT, Buffer.concat([Buffer.from('044104', 'hex'), Buffer.alloc(64, 7)])],
        [CKA.VERIFY, true],
      ),
    );
    for (const id of [CKM.ECDSA, CKM.ECDSA_SHA256]) {
      const control = Buffer.concat([u32(session, key), mechanism(id)]);
      client.refused(CKR.GENERAL_ERROR, CMD.VERIFY_INIT, control);
    }
  });
});
