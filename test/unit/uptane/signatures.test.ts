/** Which signatures count, and for how many keys. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Fields } from '../../../agent/decode.ts';
import {
  countSigners,
  readAuthority,
  readKeys,
  type Authority,
  type Signature,
} from '../../../agent/uptane/keys.ts';
import {
  ed25519,
  keysObject,
  mlDsa,
  rsa,
  type Body,
  type Key,
} from '../../support/build-metadata.ts';

const payload = Buffer.from('{"signed":"this"}');
const rsaKey = rsa();
const edKey = ed25519();

function authorityOf(keys: Body, keyids = Object.keys(keys), threshold = 1): Authority {
  const role = new Fields({ keyids, threshold }, 'role');
  return readAuthority(role, readKeys(new Fields(keys, 'keys')));
}

function signature(key: Key, changes: Partial<Signature> = {}): Signature {
  return { keyId: key.id, method: key.method, value: key.sign(payload), ...changes };
}

const count = (signatures: readonly Signature[], authority: Authority): number =>
  countSigners(signatures, authority, [payload]);

describe('signatures count towards a threshold (T2, S3, G3)', () => {
  const authority = authorityOf(keysObject([rsaKey, edKey]));

  test('by RSA-PSS under both names that the field has for it, and by Ed25519', () => {
    for (const method of ['rsassa-pss', 'rsassa-pss-sha256']) {
      assert.equal(count([signature(rsaKey, { method })], authority), 1, method);
    }
    // 257 bytes: Base64 that ends in one sign of padding.
    const odd = rsa(2056);
    assert.match(odd.sign(payload), /[^=]=$/u);
    assert.equal(count([signature(odd)], authorityOf(keysObject([odd]))), 1);
    assert.equal(count([signature(edKey)], authority), 1);
    assert.equal(count([signature(rsaKey), signature(edKey)], authority), 2);
  });

  test('by ML-DSA of both sizes, with keys that are PEM as those of RSA are', () => {
    for (const size of [65, 87] as const) {
      const key = mlDsa(size);
      const own = authorityOf(keysObject([key]));
      assert.equal(count([signature(key)], own), 1, key.keytype);
      const value = Buffer.from(key.sign(payload), 'base64');
      assert.equal(value.length, { 65: 3309, 87: 4627 }[size]);
      for (const bad of [value.subarray(1), Buffer.concat([value, value]), value.fill(0, 0, 8)]) {
        assert.equal(count([signature(key, { value: bad.toString('base64') })], own), 0);
      }
    }
  });

  test('over either canonical form', () => {
    const other = Buffer.from('{}');
    assert.equal(countSigners([signature(edKey)], authority, [other, payload]), 1);
    assert.equal(countSigners([signature(edKey)], authority, [other]), 0);
  });

  test('a role without usable keys cannot be signed for', () => {
    assert.equal(count([signature(edKey)], authorityOf({}, [edKey.id])), 0);
  });

  test('once, however often they are repeated', () => {
    const one = signature(edKey);
    assert.equal(count([one, one, one], authority), 1);
  });

  test('also after a wrong one under the same key id', () => {
    const wrong = signature(edKey, { value: ed25519().sign(payload) });
    assert.equal(count([wrong, signature(edKey)], authority), 1);
  });

  test('not behind four wrong ones of that key: whoever is in between can repeat its id (endless data)', () => {
    const wrong = signature(edKey, { value: ed25519().sign(payload) });
    const four = [wrong, wrong, wrong, wrong];
    assert.equal(count([...four.slice(1), signature(edKey)], authority), 1);
    assert.equal(count([...four, signature(edKey)], authority), 0);
    assert.equal(count([...four, signature(rsaKey)], authority), 1);
    let looked = 0;
    const forms = {
      *[Symbol.iterator]() {
        looked += 1;
        yield payload;
      },
    };
    const twoIds = [edKey, { ...edKey, id: 'other' }];
    const many = Array.from({ length: 256 }, (_, n) => ({
      ...wrong,
      keyId: twoIds[n % 2]?.id ?? '',
    }));
    assert.equal(countSigners(many, authorityOf(keysObject(twoIds)), forms), 0);
    assert.equal(looked, 4);
  });

  test('not when the method is that of another type of key', () => {
    assert.equal(count([signature(rsaKey, { method: 'ed25519' })], authority), 0);
    assert.equal(count([signature(edKey, { method: 'rsassa-pss' })], authority), 0);
    assert.equal(count([signature(edKey, { method: 'none' })], authority), 0);
    const [pq, larger] = [mlDsa(65), mlDsa(87)];
    const both = authorityOf(keysObject([pq, larger]));
    assert.equal(count([signature(pq, { method: 'ml-dsa-87' })], both), 0);
    assert.equal(count([signature(larger, { method: 'ml-dsa-65' })], both), 0);
    assert.equal(count([signature(pq, { method: 'rsassa-pss' })], both), 0);
    assert.equal(count([signature(rsaKey, { method: 'ml-dsa-65' })], authority), 0);
  });

  test('not when made by a key that the role does not have, even if the root knows it', () => {
    const keys = keysObject([rsaKey, edKey]);
    assert.equal(count([signature(edKey)], authorityOf(keys, [rsaKey.id])), 0);
    assert.equal(count([signature(ed25519())], authority), 0);
  });

  test('not when the RSA salt is of another length than 32 bytes', () => {
    for (const saltLength of [0, 20, 64]) {
      const key = rsa(2048, saltLength);
      assert.equal(count([signature(key)], authorityOf(keysObject([key]))), 0, String(saltLength));
    }
  });

  test('not when altered, truncated, or written in another Base64', () => {
    const value = edKey.sign(payload);
    const flipped = (value.startsWith('A') ? 'B' : 'A') + value.slice(1);
    for (const bad of [flipped, value.slice(4), `${value}=`, value.replace(/=+$/u, ''), '', '-_']) {
      assert.equal(count([signature(edKey, { value: bad })], authority), 0, bad);
    }
  });
});

describe('a threshold counts key material, not key ids (R3, R8)', () => {
  test('one key under two ids is one signer', () => {
    const keys = {
      one: { keytype: 'ED25519', keyval: { public: edKey.text.toLowerCase() } },
      two: { keytype: 'ed25519', keyval: { public: edKey.text.toUpperCase() } },
    };
    const both = ['one', 'two'].map((keyId) => signature(edKey, { keyId }));
    assert.equal(count(both, authorityOf(keys)), 1);
  });

  test('one RSA key in two PEM layouts is one signer', () => {
    const keys = {
      one: { keytype: 'RSA', keyval: { public: rsaKey.text } },
      two: { keytype: 'RSA', keyval: { public: rsaKey.text.replaceAll('\n', '\r\n').trimEnd() } },
    };
    const both = ['one', 'two'].map((keyId) => signature(rsaKey, { keyId }));
    assert.equal(count(both, authorityOf(keys)), 1);
  });

  test('key ids are labels: any text will do', () => {
    const keys = { 'the blue one': { keytype: 'ED25519', keyval: { public: edKey.text } } };
    assert.equal(count([signature(edKey, { keyId: 'the blue one' })], authorityOf(keys)), 1);
  });
});
