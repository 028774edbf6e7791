import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  generateKeyPairSync,
  privateEncrypt,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { describe, test } from 'node:test';

import { encodePss } from '../../../agent/io/token/emsa-pss.ts';
import { derSignature } from '../../../agent/io/token/sign.ts';

const PAYLOAD = Buffer.from('manifest');
const digest = createHash('sha256').update(PAYLOAD).digest();
const pss = (key: KeyObject, saltLength = 32): Parameters<typeof verify>[2] => ({
  key,
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength,
});

describe('what the agent does around a signature where the token does not', () => {
  for (const modulusLength of [2048, 3072, 4096]) {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
    const raw = (block: Buffer): Buffer =>
      privateEncrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, block);

    test(`pads RSASSA-PSS for ${String(modulusLength)} bits as OpenSSL expects it (RFC 8017 §9.1.1)`, () => {
      const signature = raw(encodePss(digest, modulusLength / 8));
      assert.ok(verify('sha256', PAYLOAD, pss(publicKey), signature));
      assert.ok(!verify('sha256', PAYLOAD, pss(publicKey, 20), signature));
      assert.ok(!verify('sha256', Buffer.from('other'), pss(publicKey), signature));
    });
  }

  test('takes another salt every time', () => {
    assert.notDeepEqual(encodePss(digest, 256), encodePss(digest, 256));
  });

  test('writes r and s as INTEGERs, however many zeros or high bits they begin with', () => {
    for (const namedCurve of ['P-256', 'P-384']) {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
      for (let round = 0; round < 600; round += 1) {
        const flat = sign('sha256', PAYLOAD, { key: privateKey, dsaEncoding: 'ieee-p1363' });
        assert.ok(verify('sha256', PAYLOAD, publicKey, derSignature(flat)));
      }
    }
    const zeros = Buffer.concat([
      Buffer.alloc(31),
      Buffer.from([1]),
      Buffer.alloc(31),
      Buffer.from([0x80]),
    ]);
    assert.equal(derSignature(zeros).toString('hex'), '3007020101' + '02020080');
  });
});
