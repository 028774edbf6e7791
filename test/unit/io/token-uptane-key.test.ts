import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';

import { clientKey, keyIdOf } from '../../../agent/io/token/uptane-key.ts';
import { throwsCode } from '../../support/expect-code.ts';

describe('Uptane keys on the wire', () => {
  test('are named as aktualizr names them: SHA-256 of the JSON string of the public text', () => {
    // Registered by aktualizr, and the key id that its manifests then carried.
    const text = 'E4090EF880C0266294F094AB6CF07DD3531AFBCF679D472566C0E526799E153C';
    assert.equal(
      keyIdOf({ keytype: 'ED25519', keyval: { public: text } }),
      '63611eaac3559fa0c4ca6a7a8b11b10827d2b43da1ec2cd85a2e09bde6db4972',
    );
  });

  test('write Ed25519 as 32 bytes in upper-case hex', () => {
    const text = 'E4090EF880C0266294F094AB6CF07DD3531AFBCF679D472566C0E526799E153C';
    const x = Buffer.from(text, 'hex').toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    assert.deepEqual(clientKey(key), { keytype: 'ED25519', keyval: { public: text } });
  });

  test('write RSA as PEM with its newline, and leave that newline out of the key id', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = clientKey(publicKey);
    assert.equal(key.keytype, 'RSA');
    assert.match(
      key.keyval.public,
      /^-----BEGIN PUBLIC KEY-----\n[^]+\n-----END PUBLIC KEY-----\n$/u,
    );
    const trimmed = { keytype: 'RSA', keyval: { public: key.keyval.public.trimEnd() } } as const;
    assert.equal(keyIdOf(key), keyIdOf(trimmed));
  });

  test('write EC P-256 as SPKI in hex, for Directors that take it', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const hex = publicKey.export({ type: 'spki', format: 'der' }).toString('hex');
    assert.deepEqual(clientKey(publicKey), { keytype: 'ECPRIME256V1', keyval: { public: hex } });
  });

  test('are on no other curve: no Director has a name for it', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    throwsCode(() => clientKey(publicKey), 'TOKEN_OBJECT', {
      uri: 'ota-agent-uptane',
      problem: 'a key of type ec cannot sign manifests',
      remedy: 'run "ota-agent provision"',
    });
  });
});
