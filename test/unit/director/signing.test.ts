import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { canonicalJson, type JsonMap } from '../../director/json/canonical-json.ts';
import { JsonReader, parseJson } from '../../director/json/read-json.ts';
import {
  generateKey,
  importPublicKey,
  isSignedBy,
  KEY_TYPES,
  keyId,
  publicKeyText,
  signEnvelope,
} from '../../director/signing.ts';

const VECTORS = join(import.meta.dirname, '../../vectors/uptane');

describe('keys and signatures of the Director', () => {
  for (const type of KEY_TYPES) {
    test(`signs with ${type} so that only the payload and the key that signed fit`, () => {
      const key = generateKey(type);
      const payload = { _type: 'Targets', name: 'grün\n', version: 1 };
      const envelope = new JsonReader(parseJson(signEnvelope(payload, [key])));
      const [signature] = envelope.objects('signatures');
      assert.ok(signature);
      const bytes = Buffer.from(signature.string('sig'), 'base64');
      const signed = Buffer.from(canonicalJson(payload));
      assert.ok(isSignedBy(imported(key.publicKey), signed, bytes));
      assert.ok(!isSignedBy(imported(generateKey(type).publicKey), signed, bytes));
      assert.ok(!isSignedBy(imported(key.publicKey), Buffer.concat([signed, signed]), bytes));
      assert.equal(signature.string('keyid'), key.id);
      assert.equal(signature.string('method'), type === 'ed25519' ? 'ed25519' : 'rsassa-pss');
    });
  }

  for (const name of ['g01-simple-rsa2048', 'g04-simple-ed25519', 'g10-delegation-basic-rsa']) {
    test(`verifies and identifies the keys of the field as the field does (${name})`, () => {
      for (const repo of ['director', 'repo']) {
        const directory = join(VECTORS, name, 'steps/0', repo);
        const keys = rootKeys(join(directory, '1.root.json'));
        for (const role of ['1.root', 'targets', 'snapshot', 'timestamp']) {
          const { signed, keyid, signature } = firstSignature(join(directory, `${role}.json`));
          const key = keys.get(keyid);
          assert.ok(key, `${repo}/${role} is signed by a key of the root`);
          assert.ok(isSignedBy(imported(key), Buffer.from(canonicalJson(signed)), signature));
          assert.equal(keyId(key), keyid);
        }
      }
    });
  }

  test('takes Ed25519 in either case and refuses what no Director of the field accepts', () => {
    const { publicKey } = generateKey('ed25519');
    const text = publicKey.keyval.public;
    assert.ok(importPublicKey('ED25519', text));
    assert.ok(importPublicKey('ed25519', text.toLowerCase()));
    const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey;
    const pem = ec.export({ type: 'spki', format: 'pem' }).toString();
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
    const refused = [
      ['RSA', pem],
      ['ECPRIME256V1', ec.export({ type: 'spki', format: 'der' }).toString('hex')],
      ['RSA', publicKeyText(small).keyval.public],
      ['RSA', 'no key'],
      ['ED25519', text.slice(2)],
      ['ED25519', `${text.slice(2)}zz`],
    ] as const;
    for (const [keytype, key] of refused) assert.equal(importPublicKey(keytype, key), undefined);
  });
});

function imported(key: { readonly keytype: string; readonly keyval: { readonly public: string } }) {
  const object = importPublicKey(key.keytype, key.keyval.public);
  assert.ok(object);
  return object;
}

function rootKeys(path: string): ReadonlyMap<string, ReturnType<typeof publicKeyText>> {
  const keys = new JsonReader(parseJson(readFileSync(path))).object('signed').object('keys');
  return new Map(
    keys.names().map((id) => {
      const key = keys.object(id);
      const keytype = key.string('keytype') === 'RSA' ? 'RSA' : 'ED25519';
      return [id, { keytype, keyval: { public: key.object('keyval').string('public') } }];
    }),
  );
}

function firstSignature(path: string): {
  readonly signed: JsonMap;
  readonly keyid: string;
  readonly signature: Buffer;
} {
  const envelope = new JsonReader(parseJson(readFileSync(path)));
  const [first] = envelope.objects('signatures');
  assert.ok(first);
  return {
    signed: envelope.raw('signed') as JsonMap,
    keyid: first.string('keyid'),
    signature: Buffer.from(first.string('sig'), 'base64'),
  };
}
