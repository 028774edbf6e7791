import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  mechanism,
  TestTee,
  u32,
  type TaClient,
  type TemplateValue,
} from './ta-client.ts';

type Entries = readonly (readonly [number, TemplateValue])[];

function generateKey(session: number, id: number, ...template: Entries): Buffer {
  return Buffer.concat([u32(session, id, 0), attributes(...template)]);
}

function importSecret(
  client: TaClient,
  session: number,
  keyType: number,
  value: Uint8Array,
): number {
  return client.create(
    session,
    attributes(
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, keyType],
      [CKA.VALUE, value],
      [CKA.SIGN, true],
      [CKA.VERIFY, true],
    ),
  );
}

describe('generating secret keys (PKCS#11 v2.40 §2.7.2, §2.8.3)', () => {
  test('has the length that was asked for, a fresh value and a check value', () => {
    const { client, session } = new TestTee().connectUser();
    const make = (id: number, bytes: number): Buffer | undefined => {
      const template = generateKey(session, id, [CKA.VALUE_LEN, bytes], [CKA.EXTRACTABLE, true]);
      const key = client.ok(CMD.GENERATE_KEY, template, { room: 4 }).readUInt32LE();
      assert.deepEqual(client.attribute(session, key, CKA.VALUE_LEN), u32(bytes));
      assert.equal(client.attribute(session, key, CKA.CHECK_VALUE)?.byteLength, 3);
      assert.deepEqual(client.attribute(session, key, CKA.LOCAL), Buffer.of(1));
      return client.attribute(session, key, CKA.VALUE);
    };
    for (const bytes of [16, 24, 32]) {
      const value = make(CKM.AES_KEY_GEN, bytes);
      assert.equal(value?.byteLength, bytes);
      assert.notDeepEqual(value, make(CKM.AES_KEY_GEN, bytes));
    }
    assert.equal(make(CKM.GENERIC_SECRET_KEY_GEN, 75)?.byteLength, 75);
  });

  test('a length that the type does not have is refused, and so is a value', () => {
    const { client, session } = new TestTee().connectUser();
    const refused = (rv: number, id: number, ...template: Entries): void => {
      client.refused(rv, CMD.GENERATE_KEY, generateKey(session, id, ...template), { room: 4 });
    };

    refused(CKR.KEY_SIZE_RANGE, CKM.AES_KEY_GEN, [CKA.VALUE_LEN, 17]);
    refused(CKR.KEY_SIZE_RANGE, CKM.GENERIC_SECRET_KEY_GEN, [CKA.VALUE_LEN, 0]);
    refused(CKR.KEY_SIZE_RANGE, CKM.GENERIC_SECRET_KEY_GEN, [CKA.VALUE_LEN, 513]);
    refused(CKR.TEMPLATE_INCOMPLETE, CKM.AES_KEY_GEN);
    const value = [CKA.VALUE, Buffer.alloc(16)] as const;
    refused(CKR.TEMPLATE_INCONSISTENT, CKM.AES_KEY_GEN, [CKA.VALUE_LEN, 16], value);
    const type = [CKA.KEY_TYPE, CKK.GENERIC_SECRET] as const;
    refused(CKR.TEMPLATE_INCONSISTENT, CKM.AES_KEY_GEN, [CKA.VALUE_LEN, 16], type);
    refused(CKR.MECHANISM_INVALID, CKM.AES_CBC, [CKA.VALUE_LEN, 16]);
  });
});

describe('HMAC (RFC 2104)', () => {
  const MESSAGE = Buffer.from('what do ya want for nothing?');
  const VALUE = Buffer.alloc(75, 7);
  const HMACS = [
    ['md5', CKM.MD5_HMAC, CKM.MD5_HMAC_GENERAL, CKK.MD5_HMAC],
    ['sha1', CKM.SHA_1_HMAC, CKM.SHA_1_HMAC_GENERAL, CKK.SHA_1_HMAC],
    ['sha224', CKM.SHA224_HMAC, CKM.SHA224_HMAC_GENERAL, CKK.SHA224_HMAC],
    ['sha256', CKM.SHA256_HMAC, CKM.SHA256_HMAC_GENERAL, CKK.SHA256_HMAC],
    ['sha384', CKM.SHA384_HMAC, CKM.SHA384_HMAC_GENERAL, CKK.SHA384_HMAC],
    ['sha512', CKM.SHA512_HMAC, CKM.SHA512_HMAC_GENERAL, CKK.SHA512_HMAC],
  ] as const;

  for (const [hash, id, generalId, keyType] of HMACS) {
    test(`with ${hash}: whole and cut, at once and in parts`, () => {
      const { client, session } = new TestTee().connectUser();
      const expected = createHmac(hash, VALUE).update(MESSAGE).digest();
      for (const type of [keyType, CKK.GENERIC_SECRET]) {
        const key = importSecret(client, session, type, VALUE);
        assert.deepEqual(client.sign(session, key, mechanism(id), MESSAGE), expected);
        const part = mechanism(generalId, u32(7));
        assert.deepEqual(client.sign(session, key, part, MESSAGE), expected.subarray(0, 7));
        const data = { data: MESSAGE, signature: expected.subarray(0, 7) };
        assert.equal(client.verify(session, key, part, data), CKR.OK);
        client.ok(CMD.SIGN_INIT, Buffer.concat([u32(session, key), mechanism(id)]));
        client.ok(CMD.SIGN_UPDATE, u32(session), { input: MESSAGE.subarray(0, 9) });
        client.ok(CMD.SIGN_UPDATE, u32(session), { input: MESSAGE.subarray(9) });
        assert.deepEqual(client.ok(CMD.SIGN_FINAL, u32(session), { room: 64 }), expected);
      }
      const key = importSecret(client, session, keyType, VALUE);
      const bent = Buffer.from(expected);
      bent.writeUInt8(bent.readUInt8(0) ^ 1, 0);
      const wrong = { data: MESSAGE, signature: bent };
      assert.equal(client.verify(session, key, mechanism(id), wrong), CKR.SIGNATURE_INVALID);
      const short = { data: MESSAGE, signature: expected.subarray(1) };
      assert.equal(client.verify(session, key, mechanism(id), short), CKR.SIGNATURE_LEN_RANGE);
    });
  }

  test('a cut MAC is compared by the length that is given, as with OP-TEE; never by none', () => {
    const { client, session } = new TestTee().connectUser();
    const key = importSecret(client, session, CKK.SHA256_HMAC, VALUE);
    const mac = createHmac('sha256', VALUE).update(MESSAGE).digest();
    const how = mechanism(CKM.SHA256_HMAC_GENERAL, u32(8));
    const verified = (bytes: number): number | undefined =>
      client.verify(session, key, how, { data: MESSAGE, signature: mac.subarray(0, bytes) });

    assert.deepEqual([verified(8), verified(3)], [CKR.OK, CKR.OK]);
    const { SIGNATURE_INVALID, SIGNATURE_LEN_RANGE } = CKR;
    assert.deepEqual([verified(9), verified(0)], [SIGNATURE_INVALID, SIGNATURE_LEN_RANGE]);
    const wrong = { data: MESSAGE, signature: Buffer.alloc(3) };
    assert.equal(client.verify(session, key, how, wrong), CKR.SIGNATURE_INVALID);
  });

  test('no part, and more than there is, are no MAC', () => {
    const { client, session } = new TestTee().connectUser();
    const key = importSecret(client, session, CKK.SHA256_HMAC, VALUE);
    for (const [rv, parameter] of [
      [CKR.SIGNATURE_LEN_RANGE, u32(0)],
      [CKR.SIGNATURE_LEN_RANGE, u32(33)],
      [CKR.MECHANISM_PARAM_INVALID, Buffer.alloc(0)],
      [CKR.MECHANISM_PARAM_INVALID, u32(1, 1)],
    ] as const) {
      const how = mechanism(CKM.SHA256_HMAC_GENERAL, parameter);
      const init = Buffer.concat([u32(session, key), how]);
      client.refused(rv, CMD.SIGN_INIT, init);
    }
    const other = Buffer.concat([u32(session, key), mechanism(CKM.SHA384_HMAC)]);
    client.refused(CKR.KEY_FUNCTION_NOT_PERMITTED, CMD.SIGN_INIT, other);
  });
});

describe('AES-CMAC (RFC 4493 §4)', () => {
  const KEY = Buffer.from('2b7e151628aed2a6abf7158809cf4f3c', 'hex');
  const MESSAGE = Buffer.from(
    '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51' +
      '30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710',
    'hex',
  );
  const EXAMPLES = [
    [0, 'bb1d6929e95937287fa37d129b756746'],
    [16, '070a16b46b4d4144f79bdd9dd04a287c'],
    [40, 'dfa66747de9ae63030ca32611497c827'],
    [64, '51f0bebf7e3b9d92fc49741779363cfe'],
  ] as const;

  test('is what the RFC says for every example, however it is cut up', () => {
    const { client, session } = new TestTee().connectUser();
    const key = importSecret(client, session, CKK.AES, KEY);
    const how = mechanism(CKM.AES_CMAC);
    for (const [bytes, hex] of EXAMPLES) {
      const message = MESSAGE.subarray(0, bytes);
      const expected = Buffer.from(hex, 'hex');
      assert.deepEqual(client.sign(session, key, how, message), expected);
      assert.equal(client.verify(session, key, how, { data: message, signature: expected }), 0);
      for (const partBytes of [1, 7, 16, 17]) {
        client.ok(CMD.SIGN_INIT, Buffer.concat([u32(session, key), how]));
        for (let at = 0; at < bytes; at += partBytes) {
          const input = message.subarray(at, at + partBytes);
          client.ok(CMD.SIGN_UPDATE, u32(session), { input });
        }
        assert.deepEqual(client.ok(CMD.SIGN_FINAL, u32(session), { room: 16 }), expected);
      }
    }
    const cut = client.sign(session, key, mechanism(CKM.AES_CMAC_GENERAL, u32(4)), MESSAGE);
    assert.deepEqual(cut, Buffer.from('51f0bebf', 'hex'));
  });
});
