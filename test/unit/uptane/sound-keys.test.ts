/** Keys that only their owner can sign with, and that cost no more than a signature should (R8). */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';

import { isSoundEd25519, isSoundRsa, materialOf } from '../../../agent/uptane/keys.ts';

/** Of this many bits, all set. */
function rsa(bits: number, exponent = Buffer.from([1, 0, 1])): KeyObject {
  const modulus = Buffer.alloc(Math.ceil(bits / 8), 0xff);
  modulus[0] = 0xff >> (modulus.length * 8 - bits);
  const [n, e] = [modulus.toString('base64url'), exponent.toString('base64url')];
  return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
}

test('an RSA modulus has 2048 to 16384 bits (R8)', () => {
  const sound = [2047, 2048, 2049, 16_384, 16_385].map((bits) => isSoundRsa(rsa(bits)));
  assert.deepEqual(sound, [false, true, true, true, false]);
});

test('an RSA exponent is odd, at least 3 and below 2^64 (R8)', () => {
  const sound = [[1], [2], [3], [4], [5], Array(8).fill(0xff), [1, 0, 0, 0, 0, 0, 0, 0, 1]].map(
    (exponent) => isSoundRsa(rsa(2048, Buffer.from(exponent as number[]))),
  );
  assert.deepEqual(sound, [false, false, true, false, true, true, false]);
});

test('no key of another type is sound, though it has a modulus or a point (R8)', () => {
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey;
  const ed448 = generateKeyPairSync('ed448').publicKey;
  const x25519 = generateKeyPairSync('x25519').publicKey;
  assert.deepEqual([pss, ed448].map(isSoundRsa), [false, false]);
  assert.deepEqual([pss, ed448, x25519].map(isSoundEd25519), [false, false, false]);
});

test('what keys have in common begins with their type, so that no two types share a signer (R3)', () => {
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const { crv, x = '', y } = p256.export({ format: 'jwk' });
  const { n = '' } = rsa(2048).export({ format: 'jwk' });
  assert.equal(materialOf(rsa(2048)), `rsa ${n}`);
  assert.equal(materialOf(p256), `ec ${String(crv)} ${x}`);
  assert.ok(y !== undefined && !materialOf(p256).includes(y));
  const ed25519 = generateKeyPairSync('ed25519').publicKey;
  const spki = ed25519.export({ type: 'spki', format: 'der' }).toString('base64');
  assert.equal(materialOf(ed25519), `ed25519 ${spki}`);
});
