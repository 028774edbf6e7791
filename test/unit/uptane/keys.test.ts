import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';

import { Fields } from '../../../agent/decode.ts';
import {
  countSigners,
  readAuthority,
  readKeys,
  readSignatures,
  type Authority,
  type Signature,
} from '../../../agent/uptane/keys.ts';
import { ed25519, keysObject, rsa, type Body, type Key } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';

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
    assert.equal(count([signature(edKey)], authority), 1);
    assert.equal(count([signature(rsaKey), signature(edKey)], authority), 2);
  });

  test('over either canonical form', () => {
    const other = Buffer.from('{}');
    assert.equal(countSigners([signature(edKey)], authority, [other, payload]), 1);
    assert.equal(countSigners([signature(edKey)], authority, [other]), 0);
  });

  test('once, however often they are repeated', () => {
    const one = signature(edKey);
    assert.equal(count([one, one, one], authority), 1);
  });

  test('also after a wrong one under the same key id', () => {
    const wrong = signature(edKey, { value: ed25519().sign(payload) });
    assert.equal(count([wrong, signature(edKey)], authority), 1);
  });

  test('not when the method is that of another type of key', () => {
    assert.equal(count([signature(rsaKey, { method: 'ed25519' })], authority), 0);
    assert.equal(count([signature(edKey, { method: 'rsassa-pss' })], authority), 0);
    assert.equal(count([signature(edKey, { method: 'none' })], authority), 0);
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

describe('readKeys', () => {
  const read = (key: unknown): unknown => readKeys(new Fields({ k: key }, 'keys')).get('k');
  const WANT_RSA = 'an RSA key of at least 2048 bits, SPKI in PEM';

  test('leaves out keys of unknown types, whatever they look like (R8)', () => {
    assert.equal(read({ keytype: 'ECPRIME256V1', keyval: { public: 'anything' } }), undefined);
    assert.equal(read({ keytype: 'dilithium', keyval: 7 }), undefined);
  });

  test('refuses an RSA key of less than 2048 bits', () => {
    throwsCode(
      () => read({ keytype: 'RSA', keyval: { public: rsa(1024).text } }),
      'METADATA_MALFORMED',
      { path: 'keys.k.keyval.public', want: WANT_RSA },
    );
  });

  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const notSpki: Readonly<Record<string, string>> = {
    'a private key': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    'a PKCS#1 public key': publicKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
    'a key of another type': ec.export({ type: 'spki', format: 'pem' }).toString(),
    'text after the key': `${rsaKey.text}more`,
    'two keys': `${rsaKey.text}${rsaKey.text}`,
    nothing: '',
  };
  for (const [what, text] of Object.entries(notSpki)) {
    test(`refuses ${what} as an RSA key`, () => {
      throwsCode(() => read({ keytype: 'RSA', keyval: { public: text } }), 'METADATA_MALFORMED', {
        path: 'keys.k.keyval.public',
        want: WANT_RSA,
      });
    });
  }

  test('refuses an Ed25519 key that is not 32 bytes in hex', () => {
    const der = createPublicKey(rsaKey.text).export({ type: 'spki', format: 'der' });
    for (const text of ['', edKey.text.slice(2), `${edKey.text}00`, der.toString('hex')]) {
      throwsCode(
        () => read({ keytype: 'ED25519', keyval: { public: text } }),
        'METADATA_MALFORMED',
        { path: 'keys.k.keyval.public', want: '32 bytes in hex' },
      );
    }
  });
});

describe('readAuthority', () => {
  test('refuses a threshold that anybody meets (R8)', () => {
    for (const threshold of [0, -1]) {
      throwsCode(
        () => authorityOf(keysObject([edKey]), [edKey.id], threshold),
        'METADATA_MALFORMED',
        { path: 'role.threshold', want: 'an integer of at least 1' },
      );
    }
  });

  test('refuses a threshold that nobody meets (R8)', () => {
    throwsCode(() => authorityOf({}, [], 1001), 'METADATA_MALFORMED', {
      path: 'role.threshold',
      want: 'at most 1000',
    });
  });

  test('a role without usable keys cannot be signed for', () => {
    assert.equal(count([signature(edKey)], authorityOf({}, [edKey.id])), 0);
  });
});

test('refuses more signatures than anyone needs, each of which costs a public key operation', () => {
  const one = { keyid: edKey.id, method: 'ed25519', sig: 'AA==' };
  const file = (length: number): Fields =>
    new Fields({ signatures: Array.from({ length }, () => one) }, 'file');
  assert.equal(readSignatures(file(256)).length, 256);
  throwsCode(() => readSignatures(file(257)), 'METADATA_MALFORMED', {
    path: 'file.signatures',
    want: 'at most 256 signatures',
  });
});
