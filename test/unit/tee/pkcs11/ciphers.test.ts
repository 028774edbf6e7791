import assert from 'node:assert/strict';
import {
  constants,
  createCipheriv,
  createPublicKey,
  publicEncrypt,
  type CipherGCMTypes,
} from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, mechanism, TestTee, u32, type TaClient } from './ta-client.ts';

const VECTOR = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const TEXT = Buffer.from('forty-eight bytes of text, which are three blocks.').subarray(0, 48);

interface Aes {
  readonly client: TaClient;
  readonly session: number;
  readonly key: number;
  readonly value: Buffer;
}

function aes(value: Buffer): Aes {
  const { client, session } = new TestTee().connectUser();
  const key = client.create(
    session,
    attributes(
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.VALUE, value],
      [CKA.ENCRYPT, true],
      [CKA.DECRYPT, true],
    ),
  );
  return { client, session, key, value };
}

type Direction = 'ENCRYPT' | 'DECRYPT';

function start({ client, session, key }: Omit<Aes, 'value'>, way: Direction, how: Buffer): void {
  client.ok(CMD[`${way}_INIT`], Buffer.concat([u32(session, key), how]));
}

function atOnce(aesKey: Omit<Aes, 'value'>, way: Direction, how: Buffer, input: Buffer): Buffer {
  start(aesKey, way, how);
  return aesKey.client.ok(CMD[`${way}_ONESHOT`], u32(aesKey.session), { input, room: 4096 });
}

function inParts(aesKey: Aes, way: Direction, how: Buffer, input: Buffer): Buffer {
  start(aesKey, way, how);
  const { client, session } = aesKey;
  const out: Buffer[] = [];
  for (let at = 0; at < input.byteLength; at += 13) {
    const part = { input: input.subarray(at, at + 13), room: 4096 };
    out.push(client.ok(CMD[`${way}_UPDATE`], u32(session), part));
  }
  out.push(client.ok(CMD[`${way}_FINAL`], u32(session), { room: 4096 }));
  return Buffer.concat(out);
}

const SIZES = [16, 24, 32] as const;
const MODES = [
  ['ecb', mechanism(CKM.AES_ECB), null],
  ['cbc', mechanism(CKM.AES_CBC, VECTOR), VECTOR],
  ['ctr', mechanism(CKM.AES_CTR, Buffer.concat([u32(1), VECTOR])), VECTOR],
  ['ctr', mechanism(CKM.AES_CTR, Buffer.concat([u32(128), VECTOR])), VECTOR],
] as const;

describe('AES (PKCS#11 v2.40 §2.8 to §2.12)', () => {
  for (const bytes of SIZES) {
    test(`with a key of ${String(8 * bytes)} bits encrypts as OpenSSL does, and back`, () => {
      const key = aes(Buffer.alloc(bytes, 5));
      for (const [name, how, vector] of MODES) {
        const cipher = createCipheriv(`aes-${String(8 * bytes)}-${name}`, key.value, vector);
        cipher.setAutoPadding(false);
        const expected = Buffer.concat([cipher.update(TEXT), cipher.final()]);

        assert.deepEqual(atOnce(key, 'ENCRYPT', how, TEXT), expected);
        assert.deepEqual(inParts(key, 'ENCRYPT', how, TEXT), expected);
        assert.deepEqual(atOnce(key, 'DECRYPT', how, expected), TEXT);
        assert.deepEqual(inParts(key, 'DECRYPT', how, expected), TEXT);
      }
    });

    test(`GCM with a key of ${String(8 * bytes)} bits encrypts as OpenSSL does, and back`, () => {
      const key = aes(Buffer.alloc(bytes, 6));
      const aad = Buffer.from('header');
      for (const tagBytes of [4, 12, 16]) {
        const name = `aes-${String(8 * bytes)}-gcm` as CipherGCMTypes;
        const cipher = createCipheriv(name, key.value, VECTOR, { authTagLength: tagBytes });
        cipher.setAAD(aad);
        const text = TEXT.subarray(0, 37);
        const parts = [cipher.update(text), cipher.final()];
        const expected = Buffer.concat([...parts, cipher.getAuthTag()]);
        const how = gcm(VECTOR, aad, 8 * tagBytes);

        assert.deepEqual(atOnce(key, 'ENCRYPT', how, text), expected);
        assert.deepEqual(inParts(key, 'ENCRYPT', how, text), expected);
        assert.deepEqual(atOnce(key, 'DECRYPT', how, expected), text);
        assert.deepEqual(inParts(key, 'DECRYPT', how, expected), text);
      }
    });
  }

  test('GCM gives nothing away before the tag is verified', () => {
    const key = aes(Buffer.alloc(16, 6));
    const { client, session } = key;
    const how = gcm(VECTOR, Buffer.alloc(0), 128);
    const forged = atOnce(key, 'ENCRYPT', how, TEXT);
    forged.writeUInt8(forged.readUInt8(3) ^ 1, 3);
    const { SIGNATURE_INVALID, ENCRYPTED_DATA_LEN_RANGE } = CKR;

    start(key, 'DECRYPT', how);
    const part = client.ok(CMD.DECRYPT_UPDATE, u32(session), { input: forged, room: 4096 });
    assert.equal(part.byteLength, 0);
    client.refused(SIGNATURE_INVALID, CMD.DECRYPT_FINAL, u32(session), { room: 4096 });
    start(key, 'DECRYPT', how);
    const short = { input: Buffer.alloc(15), room: 16 };
    client.refused(ENCRYPTED_DATA_LEN_RANGE, CMD.DECRYPT_ONESHOT, u32(session), short);
  });

  test('stealing ciphertext gives the examples of RFC 3962, and back', () => {
    const key = aes(Buffer.from('chicken teriyaki'));
    const how = mechanism(CKM.AES_CTS, Buffer.alloc(16));
    const text = Buffer.from('I would like the General Gau’s Chicken, please,'.replace('’', "'"));
    const examples = [
      [17, 'c6353568f2bf8cb4d8a580362da7ff7f97'],
      [31, 'fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5'],
      [32, '39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584'],
      [
        47,
        '97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e' +
          '39312523a78662d5be7fcbcc98ebf5',
      ],
    ] as const;
    for (const [bytes, hex] of examples) {
      const expected = Buffer.from(hex, 'hex');
      assert.deepEqual(atOnce(key, 'ENCRYPT', how, text.subarray(0, bytes)), expected);
      assert.deepEqual(inParts(key, 'ENCRYPT', how, text.subarray(0, bytes)), expected);
      assert.deepEqual(atOnce(key, 'DECRYPT', how, expected), text.subarray(0, bytes));
      assert.deepEqual(inParts(key, 'DECRYPT', how, expected), text.subarray(0, bytes));
    }
    const block = atOnce(key, 'ENCRYPT', how, text.subarray(0, 16));
    assert.deepEqual(atOnce(key, 'DECRYPT', how, block), text.subarray(0, 16));
  });

  test('is told the room it needs before it takes anything', () => {
    const key = aes(Buffer.alloc(16, 5));
    const { client, session } = key;
    start(key, 'ENCRYPT', mechanism(CKM.AES_CBC, VECTOR));
    const update = (input: Buffer, room: number) =>
      client.call(CMD.ENCRYPT_UPDATE, u32(session), { input, room });

    assert.deepEqual(sized(update(TEXT.subarray(0, 40), 31)), [CKR.BUFFER_TOO_SMALL, 32]);
    const first = update(TEXT.subarray(0, 40), 32).output;
    assert.deepEqual(sized(update(TEXT.subarray(40), 0)), [CKR.BUFFER_TOO_SMALL, 16]);
    const second = update(TEXT.subarray(40), 16).output;
    client.ok(CMD.ENCRYPT_FINAL, u32(session), { room: 0 });
    const expected = atOnce(key, 'ENCRYPT', mechanism(CKM.AES_CBC, VECTOR), TEXT);
    assert.deepEqual(Buffer.concat([first, second]), expected);
  });

  test('data that is not whole blocks is refused at the end', () => {
    const key = aes(Buffer.alloc(16, 5));
    const { client, session } = key;
    const how = mechanism(CKM.AES_CBC, VECTOR);
    const partial = { input: TEXT.subarray(0, 17), room: 64 };
    const { DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE } = CKR;

    start(key, 'ENCRYPT', how);
    client.refused(DATA_LEN_RANGE, CMD.ENCRYPT_ONESHOT, u32(session), partial);
    start(key, 'DECRYPT', how);
    client.refused(ENCRYPTED_DATA_LEN_RANGE, CMD.DECRYPT_ONESHOT, u32(session), partial);
    start(key, 'ENCRYPT', how);
    client.ok(CMD.ENCRYPT_UPDATE, u32(session), partial);
    client.refused(DATA_LEN_RANGE, CMD.ENCRYPT_FINAL, u32(session), { room: 64 });
    start(key, 'ENCRYPT', mechanism(CKM.AES_CTS, VECTOR));
    const short = { input: TEXT.subarray(0, 15), room: 64 };
    client.refused(DATA_LEN_RANGE, CMD.ENCRYPT_ONESHOT, u32(session), short);
  });

  test('parameters that the mode does not have are refused', () => {
    const { client, session, key } = aes(Buffer.alloc(16, 5));
    const refused = [
      mechanism(CKM.AES_ECB, VECTOR),
      mechanism(CKM.AES_CBC),
      mechanism(CKM.AES_CBC, Buffer.alloc(15)),
      mechanism(CKM.AES_CBC, Buffer.alloc(17)),
      mechanism(CKM.AES_CTR, Buffer.concat([u32(2), VECTOR])),
      gcm(Buffer.alloc(0), VECTOR, 128),
      gcm(Buffer.alloc(257), VECTOR, 128),
      gcm(VECTOR, VECTOR, 120 + 1),
      gcm(VECTOR, VECTOR, 136),
      gcm(VECTOR, VECTOR, 0),
    ];
    for (const how of refused) {
      const init = Buffer.concat([u32(session, key), how]);
      client.refused(CKR.MECHANISM_PARAM_INVALID, CMD.ENCRYPT_INIT, init);
    }
  });
});

describe('RSA encryption (PKCS#11 v2.40 §2.1)', () => {
  const { client, session } = new TestTee().connectUser();
  const pair = client.generatePair(
    session,
    CKM.RSA_PKCS_KEY_PAIR_GEN,
    attributes([CKA.MODULUS_BITS, 1024], [CKA.ENCRYPT, true]),
    attributes([CKA.DECRYPT, true]),
  );
  const open = { client, session, key: pair.publicKey };
  const secret = { client, session, key: pair.privateKey };
  const n = client.attribute(session, pair.publicKey, CKA.MODULUS)?.toString('base64url') ?? '';
  const judge = createPublicKey({ key: { kty: 'RSA', n, e: 'AQAB' }, format: 'jwk' });
  const label = Buffer.from('label');
  const HOW = [
    [mechanism(CKM.RSA_PKCS), { padding: constants.RSA_PKCS1_PADDING }],
    [
      mechanism(CKM.RSA_PKCS_OAEP, u32(CKM.SHA_1, 1, 1, 0)),
      { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
    ],
    [
      mechanism(CKM.RSA_PKCS_OAEP, Buffer.concat([u32(CKM.SHA256, 2, 1, 5), label])),
      { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256', oaepLabel: label },
    ],
  ] as const;

  test('decrypts what OpenSSL encrypted, and what it encrypted itself', () => {
    for (const [how, form] of HOW) {
      const theirs = publicEncrypt({ key: judge, ...form }, TEXT);
      assert.deepEqual(atOnce(secret, 'DECRYPT', how, theirs), TEXT);
      const ours = atOnce(open, 'ENCRYPT', how, TEXT);
      assert.equal(ours.byteLength, 128);
      assert.deepEqual(atOnce(secret, 'DECRYPT', how, ours), TEXT);
    }
  });

  test('without padding is the bare function, of numbers below the modulus', () => {
    const how = mechanism(CKM.RSA_X_509);
    const number = Buffer.concat([Buffer.alloc(80), TEXT]);
    const theirs = publicEncrypt({ key: judge, padding: constants.RSA_NO_PADDING }, number);

    assert.deepEqual(atOnce(open, 'ENCRYPT', how, TEXT), theirs);
    assert.deepEqual(atOnce(secret, 'DECRYPT', how, theirs), number);
    start(open, 'ENCRYPT', how);
    const larger = { input: Buffer.alloc(128, 0xff), room: 128 };
    client.refused(CKR.DATA_LEN_RANGE, CMD.ENCRYPT_ONESHOT, u32(session), larger);
  });

  test('waits for a larger buffer when the text does not fit, and tells its size', () => {
    const [[how]] = HOW;
    const encrypted = atOnce(open, 'ENCRYPT', how, TEXT);
    start(secret, 'DECRYPT', how);
    const small = { input: encrypted, room: 47 };
    assert.deepEqual(sized(client.call(CMD.DECRYPT_ONESHOT, u32(session), small)), [
      CKR.BUFFER_TOO_SMALL,
      48,
    ]);
    const enough = { input: encrypted, room: 48 };
    assert.deepEqual(client.ok(CMD.DECRYPT_ONESHOT, u32(session), enough), TEXT);
  });

  test('data, blocks and parameters of a wrong size or kind are refused', () => {
    const { DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE } = CKR;
    const [[pkcs1], [oaep]] = HOW;
    start(open, 'ENCRYPT', pkcs1);
    const long = { input: Buffer.alloc(118), room: 128 };
    client.refused(DATA_LEN_RANGE, CMD.ENCRYPT_ONESHOT, u32(session), long);
    start(secret, 'DECRYPT', oaep);
    const short = { input: Buffer.alloc(127), room: 128 };
    client.refused(ENCRYPTED_DATA_LEN_RANGE, CMD.DECRYPT_ONESHOT, u32(session), short);
    for (const how of [pkcs1, oaep]) {
      start(secret, 'DECRYPT', how);
      const forged = { input: Buffer.alloc(128, 1), room: 128 };
      client.refused(ENCRYPTED_DATA_LEN_RANGE, CMD.DECRYPT_ONESHOT, u32(session), forged);
    }
    for (const parameter of [u32(CKM.SHA_1, 2, 1, 0), u32(CKM.SHA_1, 1, 2, 0)]) {
      const how = mechanism(CKM.RSA_PKCS_OAEP, parameter);
      const init = Buffer.concat([u32(session, pair.publicKey), how]);
      client.refused(CKR.FUNCTION_FAILED, CMD.ENCRYPT_INIT, init);
    }
    start(open, 'ENCRYPT', pkcs1);
    const part = { input: TEXT, room: 128 };
    client.refused(CKR.MECHANISM_INVALID, CMD.ENCRYPT_UPDATE, u32(session), part);
  });
});

function gcm(vector: Buffer, aad: Buffer, tagBits: number): Buffer {
  const parts = [u32(vector.byteLength), vector, u32(aad.byteLength), aad, u32(tagBits)];
  return mechanism(CKM.AES_GCM, Buffer.concat(parts));
}

function sized(reply: { readonly rv: number | undefined; readonly size: number }): unknown[] {
  return [reply.rv, reply.size];
}
