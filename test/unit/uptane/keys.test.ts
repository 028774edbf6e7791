import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';

import { ED25519_TORSION_SUBGROUP } from '@noble/curves/ed25519.js';

import { Fields } from '../../../agent/decode.ts';
import {
  readAuthority,
  readKeys,
  readSignatures,
  type Authority,
} from '../../../agent/uptane/keys.ts';
import { ed25519, keysObject, mlDsa, rsa, type Body } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';

const rsaKey = rsa();
const edKey = ed25519();

function authorityOf(keys: Body, keyids = Object.keys(keys), threshold = 1): Authority {
  const role = new Fields({ keyids, threshold }, 'role');
  return readAuthority(role, readKeys(new Fields(keys, 'keys')));
}

describe('readKeys', () => {
  test('one RSA modulus with two exponents is one key: it has one private key (R8)', () => {
    const keys = {
      one: { keytype: 'RSA', keyval: { public: rsaKey.text } },
      two: { keytype: 'RSA', keyval: { public: withExponent(rsaKey.text, 3) } },
    };
    const read = readKeys(new Fields(keys, 'keys'));
    assert.equal(read.get('one')?.material, read.get('two')?.material);
  });

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

  test('refuses RSA exponents with which anybody signs, or nobody, or that take ever so long', () => {
    for (const exponent of [0, 1, 2, 65_536, 2n ** 64n + 1n]) {
      throwsCode(
        () => read({ keytype: 'RSA', keyval: { public: withExponent(rsaKey.text, exponent) } }),
        'METADATA_MALFORMED',
        { path: 'keys.k.keyval.public', want: WANT_RSA },
      );
    }
    for (const exponent of [3, 17, 65_537]) {
      assert.ok(read({ keytype: 'RSA', keyval: { public: withExponent(rsaKey.text, exponent) } }));
    }
  });

  test('refuses every Ed25519 point of small order, in each of its encodings', () => {
    const encodings = smallOrderEncodings();
    assert.equal(encodings.length, 14);
    for (const hex of encodings) {
      throwsCode(
        () => read({ keytype: 'ED25519', keyval: { public: hex } }),
        'METADATA_MALFORMED',
        { path: 'keys.k.keyval.public', want: 'a key that only its owner has' },
      );
    }
  });

  test('refuses an Ed25519 key that is not written in its one way', () => {
    const [y, prime] = [5n, 2n ** 255n - 19n];
    assert.ok(read({ keytype: 'ED25519', keyval: { public: littleEndian(y) } }));
    throwsCode(
      () => read({ keytype: 'ED25519', keyval: { public: littleEndian(y + prime) } }),
      'METADATA_MALFORMED',
      { path: 'keys.k.keyval.public', want: 'a key that only its owner has' },
    );
  });

  test('refuses an ML-DSA key of another size or type than its own, hex, and what is none', () => {
    const hex = createPublicKey(mlDsa(65).text)
      .export({ type: 'spki', format: 'der' })
      .toString('hex');
    for (const text of [mlDsa(87).text, rsaKey.text, hex, '']) {
      throwsCode(
        () => read({ keytype: 'ML-DSA-65', keyval: { public: text } }),
        'METADATA_MALFORMED',
        { path: 'keys.k.keyval.public', want: 'an ML-DSA-65 key, SPKI in PEM' },
      );
    }
  });

  test('leaves out ML-DSA-44 and what is not of FIPS 204', () => {
    for (const keytype of ['ML-DSA-44', 'ML-DSA', 'SLH-DSA-SHA2-128S', 'mldsa65']) {
      assert.equal(read({ keytype, keyval: { public: 'anything' } }), undefined, keytype);
    }
  });

  test('refuses more keys than anyone needs, each of which costs memory', () => {
    const keys = (count: number): Fields =>
      new Fields(
        Object.fromEntries(
          Array.from({ length: count }, (_, i) => [`k${String(i)}`, { keytype: 'future' }]),
        ),
        'keys',
      );
    assert.equal(readKeys(keys(4096)).size, 0);
    throwsCode(() => readKeys(keys(4097)), 'METADATA_MALFORMED', {
      path: 'keys',
      want: 'at most 4096 keys',
    });
  });

  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const notSpki: Readonly<Record<string, string>> = {
    'a private key': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    'a PKCS#1 public key': publicKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
    'a key of another type': ec.export({ type: 'spki', format: 'pem' }).toString(),
    'text after the key': `${rsaKey.text}more`,
    'two keys': `${rsaKey.text}${rsaKey.text}`,
    'PEM around what is no key': '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
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
    assert.equal(authorityOf({}, [], 1000).threshold, 1000);
    throwsCode(() => authorityOf({}, [], 1001), 'METADATA_MALFORMED', {
      path: 'role.threshold',
      want: 'at most 1000',
    });
  });

  test('refuses more key ids than anyone needs (R8)', () => {
    const ids = (length: number): string[] => Array.from({ length }, String);
    authorityOf({}, ids(1024));
    throwsCode(() => authorityOf({}, ids(1025)), 'METADATA_MALFORMED', {
      path: 'role.keyids',
      want: 'at most 1024 key ids',
    });
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

/** The same modulus with another exponent, which need not be one. */
function withExponent(pem: string, exponent: number | bigint): string {
  const { n = '' } = createPublicKey(pem).export({ format: 'jwk' });
  const hex = BigInt(exponent).toString(16);
  const body = Buffer.concat([
    integer(Buffer.from(n, 'base64url')),
    integer(Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')),
  ]);
  const algorithm = Buffer.from('300d06092a864886f70d0101010500', 'hex');
  const bits = der(0x03, Buffer.concat([Buffer.alloc(1), der(0x30, body)]));
  const spki = der(0x30, Buffer.concat([algorithm, bits])).toString('base64');
  return `-----BEGIN PUBLIC KEY-----\n${spki}\n-----END PUBLIC KEY-----\n`;
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, (bytes[0] ?? 0) > 0x7f ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes);
}

function der(tag: number, body: Buffer): Buffer {
  const length = body.length < 0x80 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

/** All multiples of a point of order 8, found with another implementation; canonical and not. */
function smallOrderEncodings(): readonly string[] {
  const prime = 2n ** 255n - 19n;
  const ys = new Set(ED25519_TORSION_SUBGROUP.map((hex) => yOf(hex)));
  const spellings = [...ys].flatMap((y) => (y + prime < 2n ** 255n ? [y, y + prime] : [y]));
  return spellings.flatMap((y) => [littleEndian(y), littleEndian(y | (1n << 255n))]);
}

function yOf(hex: string): bigint {
  const bigEndian = Buffer.from(hex, 'hex').reverse().toString('hex');
  return BigInt(`0x${bigEndian}`) & (2n ** 255n - 1n);
}

function littleEndian(value: bigint): string {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse().toString('hex');
}
