import assert from 'node:assert/strict';
import { generateKeyPairSync, getDiffieHellman, type JsonWebKey } from 'node:crypto';
import { test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, mechanism, TestTee, u32 } from './ta-client.ts';

const message = Buffer.from('message');

function rsaJwk(): JsonWebKey {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  return privateKey.export({ format: 'jwk' });
}

function value(text: string | undefined): Buffer {
  return Buffer.from(text ?? assert.fail('a private JWK has every number'), 'base64url');
}

test('an RSA key whose prime is its modulus does not end the TA', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const jwk = rsaJwk();
  const numbers = (prime: string | undefined): Buffer =>
    attributes(
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [CKA.KEY_TYPE, CKK.RSA],
      [CKA.SIGN, true],
      [CKA.MODULUS, value(jwk.n)],
      [CKA.PUBLIC_EXPONENT, value(jwk.e)],
      [CKA.PRIVATE_EXPONENT, value(jwk.d)],
      [CKA.PRIME_1, value(prime)],
    );
  const good = client.create(session, numbers(jwk.p));
  const odd = client.create(session, numbers(jwk.n));
  const sign = mechanism(CKM.SHA256_RSA_PKCS);

  // It says nothing of the primes, so that they are found as without it.
  assert.deepEqual(
    client.sign(session, odd, sign, message),
    client.sign(session, good, sign, message),
  );
  assert.deepEqual(tee.panics, []);
});

test('an RSA key whose modulus is a prime, or its square, is refused at once', () => {
  const { client, session } = new TestTee().connectUser();
  const prime = BigInt(`0x${getDiffieHellman('modp14').getPrime('hex')}`);
  const small = BigInt(`0x${getDiffieHellman('modp2').getPrime('hex')}`);
  const number = (n: bigint): Buffer => {
    const digits = n.toString(16);
    return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  };
  // Exponents that undo each other: 5 · d = 1 + k · order.
  const inverse = (order: bigint): bigint => {
    let product = order + 1n;
    while (product % 5n !== 0n) product += order;
    return product / 5n;
  };
  for (const [n, order] of [
    [prime, prime - 1n],
    [small * small, small * (small - 1n)],
  ] as const) {
    const key = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.PRIVATE_KEY],
        [CKA.KEY_TYPE, CKK.RSA],
        [CKA.SIGN, true],
        [CKA.MODULUS, number(n)],
        [CKA.PUBLIC_EXPONENT, Buffer.of(5)],
        [CKA.PRIVATE_EXPONENT, number(inverse(order))],
      ),
    );
    const before = process.cpuUsage();

    const control = Buffer.concat([u32(session, key), mechanism(CKM.SHA256_RSA_PKCS)]);
    client.refused(CKR.GENERAL_ERROR, CMD.SIGN_INIT, control);

    const { user } = process.cpuUsage(before);
    assert.ok(user < 500_000, `${String(user)} µs of the processor`);
  }
});
