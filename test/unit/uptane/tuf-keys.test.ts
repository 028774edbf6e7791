/** Which TUF keys can count, and which signatures of theirs do. */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { describe, test } from 'node:test';

import { Fields } from '../../../agent/decode.ts';
import { methodOf } from '../../../agent/uptane/keys.ts';
import {
  countTufSigners,
  isPlainTuf,
  readTufAuthority,
  readTufKeys,
  readTufSignatures,
} from '../../../agent/uptane/tuf-keys.ts';
import { throwsCode } from '../../support/expect-code.ts';
import {
  ecdsaKey,
  ed25519Key,
  keysObject,
  mlDsaKey,
  rsaKey,
  type Body,
  type TufKey,
} from '../../support/tuf-keys.ts';

const PAYLOAD = Buffer.from('payload');
const PLAIN = [
  ed25519Key(),
  ecdsaKey('p256'),
  ecdsaKey('p384'),
  ecdsaKey('p256', 'ecdsa-sha2-nistp256'),
  ecdsaKey('p384', 'ecdsa-sha2-nistp384'),
  rsaKey('sha256'),
  rsaKey('sha384'),
  rsaKey('sha512'),
];
const [ed25519, p256, p384, , , rsa] = PLAIN as [TufKey, TufKey, TufKey, TufKey, TufKey, TufKey];

const read = (keys: Body): ReturnType<typeof readTufKeys> => readTufKeys(new Fields(keys, 'keys'));
const publicOf = (key: TufKey): string => (key.entry['keyval'] as { public: string }).public;
const changed = (key: TufKey, changes: Body): TufKey => ({
  ...key,
  entry: { ...key.entry, ...changes },
});
const withPublic = (key: TufKey, text: string): TufKey =>
  changed(key, { keyval: { public: text } });

/** How many of `signers` count where each of `keys` may sign. */
function signers(keys: readonly TufKey[], signing = keys, value = (hex: string) => hex): number {
  const usable = read(keysObject(keys));
  const role = { keyids: keys.map(({ id }) => id), threshold: 1 };
  const signatures = signing.map((key) => ({ keyId: key.id, value: value(key.sign(PAYLOAD)) }));
  return countTufSigners(signatures, readTufAuthority(new Fields(role, 'r'), usable), PAYLOAD);
}

describe('a signature of TUF counts (T2, S3, G3)', () => {
  for (const key of [...PLAIN, mlDsaKey(65), mlDsaKey(87), mlDsaKey(65, 'ml-dsa-65/1')]) {
    const { keytype, scheme } = key.entry;
    test(`by ${String(keytype)} with ${String(scheme)}, in hex of either case`, () => {
      assert.equal(signers([key]), 1);
      assert.equal(
        signers([key], [key], (hex) => hex.toUpperCase()),
        1,
      );
      const bad = [
        ...['', hexOf('x'.repeat(64)), 'zz'],
        (hex: string) => hex.slice(1),
        (hex: string) => `${hex.slice(0, -2)}gg`,
        (hex: string) => ` ${hex}`,
      ];
      for (const value of bad) {
        const make = typeof value === 'string' ? () => value : value;
        assert.equal(signers([key], [key], make), 0, String(value));
      }
    });
  }

  test('once, whoever else signed', () => {
    assert.equal(signers([ed25519, rsa], [ed25519, ed25519, rsa]), 2);
    assert.equal(signers([ed25519, rsa], [ed25519, p256]), 1);
  });

  test('of a bare key in hex, as older tools write it', () => {
    const point = (key: TufKey): string => {
      const der = createPublicKey(publicOf(key)).export({ type: 'spki', format: 'der' });
      return der.toString('hex').slice(-2 * { 91: 65, 120: 97 }[der.length as 91]);
    };
    assert.equal(signers([withPublic(p256, point(p256))]), 1);
    assert.equal(signers([withPublic(p384, point(p384))]), 1);
    const pem = createPublicKey({
      ...{ format: 'der', type: 'spki' },
      key: Buffer.from(`302a300506032b6570032100${publicOf(ed25519)}`, 'hex'),
    }).export({ type: 'spki', format: 'pem' });
    assert.equal(signers([withPublic(ed25519, pem.toString())]), 1);
  });
});

describe('a key is left out and never counts (R8)', () => {
  const pq = mlDsaKey(65);
  const useless: Readonly<Record<string, TufKey>> = {
    'of an unknown type': changed(ed25519, { keytype: 'future' }),
    'with an unknown scheme': changed(ed25519, { scheme: 'future' }),
    'with the scheme of another type': changed(ed25519, { scheme: 'rsassa-pss-sha256' }),
    'with its type in capitals': changed(ed25519, { keytype: 'ED25519' }),
    'of RSA under the name of Ed25519': withPublic(ed25519, publicOf(rsa)),
    'of Ed25519 under the name of RSA': withPublic(rsa, publicOf(ed25519)),
    'of RSA under the name of ECDSA': withPublic(p256, publicOf(rsa)),
    'of another curve than its scheme': withPublic(p256, publicOf(p384)),
    'of Ed25519 that anybody can sign with': withPublic(ed25519, `01${'00'.repeat(31)}`),
    'of Ed25519 that is not written in its one way': withPublic(ed25519, 'ff'.repeat(32)),
    'without text': changed(ed25519, { keyval: {} }),
    'with too little hex': withPublic(ed25519, publicOf(ed25519).slice(2)),
    'with half a byte more': withPublic(ed25519, `${publicOf(ed25519)}0`),
    'with hex where PEM has to be': withPublic(rsa, 'ab'.repeat(32)),
    'with a point that is on no curve': withPublic(p256, `04${'ff'.repeat(64)}`),
    'of ML-DSA that is broken': withPublic(pq, 'ab'),
    'of ML-DSA without text': changed(pq, { keyval: {} }),
  };
  for (const [what, key] of Object.entries(useless)) {
    test(what, () => {
      assert.equal(read(keysObject([key])).size, 0);
      assert.equal(read(keysObject([key, rsa])).size, 1);
    });
  }

  test('of ML-DSA that names a scheme of another type: it is known, and signs nothing', () => {
    const crossed = { ...pq.entry, keytype: 'ML-DSA-65' };
    for (const scheme of ['ed25519', 'rsassa-pss-sha256', 'ecdsa-sha2-nistp256', 'ml-dsa-87']) {
      assert.equal(signers([changed(pq, { ...crossed, scheme })]), 0, scheme);
    }
  });

  test('but what is no key at all is refused', () => {
    for (const [field, want] of [
      ['keytype', 'a string'],
      ['scheme', 'a string'],
      ['keyval', 'an object'],
    ] as const) {
      const key = changed(ed25519, { [field]: 1 });
      const path = `keys.${key.id}.${field}`;
      throwsCode(() => read(keysObject([key])), 'METADATA_MALFORMED', { path, want });
    }
  });
});

test('the schemes that TUF itself names are plain TUF, others are not', () => {
  const plain = (key: TufKey): readonly boolean[] =>
    [...read(keysObject([key])).values()].map(isPlainTuf);
  for (const key of PLAIN) assert.deepEqual(plain(key), [true]);
  assert.deepEqual(plain(mlDsaKey(65)), [false]);
});

test('a scheme of ML-DSA may have its version behind it, and nothing else around it', () => {
  assert.equal(methodOf('ml-dsa-65/1'), 'ml-dsa-65');
  assert.equal(methodOf('ml-dsa-87/1'), 'ml-dsa-87');
  for (const other of ['ml-dsa-65/12', 'ml-dsa-65/2', 'x-ml-dsa-65/1', 'ed25519/1', 'ed25519']) {
    assert.equal(methodOf(other), other);
  }
});

describe('each once (§4.2.1)', () => {
  test('a key in a role', () => {
    const role = new Fields({ keyids: ['a', 'b', 'a'], threshold: 1 }, 'role');
    const details = { path: 'role.keyids', want: 'each key once' };
    throwsCode(() => readTufAuthority(role, new Map()), 'METADATA_MALFORMED', details);
  });

  test('a key id among signatures', () => {
    const file = (...ids: readonly string[]): Fields =>
      new Fields({ signatures: ids.map((keyid) => ({ keyid, sig: '' })) }, 'file');
    assert.deepEqual(readTufSignatures(file('a', 'b')), [
      { keyId: 'a', value: '' },
      { keyId: 'b', value: '' },
    ]);
    const details = { path: 'file.signatures', want: 'each key id once' };
    throwsCode(() => readTufSignatures(file('a', 'b', 'a')), 'METADATA_MALFORMED', details);
  });
});

function hexOf(text: string): string {
  return Buffer.from(text).toString('hex');
}
