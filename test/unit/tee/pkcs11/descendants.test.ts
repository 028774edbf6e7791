/** Keys that are derived from other keys. PKCS#11 v2.40 §5.14. */
import assert from 'node:assert/strict';
import { createCipheriv, createECDH } from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  mechanism,
  P256,
  P384,
  TestTee,
  u32,
  type TemplateValue,
} from './ta-client.ts';

type Entries = readonly (readonly [number, TemplateValue])[];

const READABLE_SECRET: Entries = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.EXTRACTABLE, true],
];

function secretKey(keyType: number, value: Uint8Array, ...more: Entries): Buffer {
  const kind: Entries = [
    [CKA.CLASS, CKO.SECRET_KEY],
    [CKA.KEY_TYPE, keyType],
    [CKA.VALUE, value],
  ];
  return attributes(...kind, ...more);
}

describe('deriving keys', () => {
  const derive = (session: number, parent: number, how: Buffer, ...template: Entries): Buffer =>
    Buffer.concat([u32(session, parent), how, attributes(...template)]);
  const ecdh = (point: Buffer, kdf = 1): Buffer =>
    mechanism(CKM.ECDH1_DERIVE, Buffer.concat([u32(kdf, 0, point.byteLength), point]));

  for (const [name, params] of [
    ['prime256v1', P256],
    ['secp384r1', P384],
  ] as const) {
    test(`ECDH on ${name} gives both sides the same secret (§2.3.11)`, () => {
      const { client, session } = new TestTee().connectUser();
      const { publicKey, privateKey } = client.generatePair(
        session,
        CKM.EC_KEY_PAIR_GEN,
        attributes([CKA.EC_PARAMS, params]),
        attributes([CKA.DERIVE, true]),
      );
      const point = client.attribute(session, publicKey, CKA.EC_POINT) ?? Buffer.alloc(0);
      const other = createECDH(name);
      const theirs = other.generateKeys();
      const expected = other.computeSecret(point.subarray(point.byteLength - theirs.byteLength));

      const control = derive(session, privateKey, ecdh(theirs), ...READABLE_SECRET);
      const key = client.ok(CMD.DERIVE_KEY, control, { room: 4 }).readUInt32LE();

      assert.deepEqual(client.attribute(session, key, CKA.VALUE), expected);
      const length = [CKA.VALUE_LEN, 16] as const;
      const shorter = derive(session, privateKey, ecdh(theirs), ...READABLE_SECRET, length);
      const cut = client.ok(CMD.DERIVE_KEY, shorter, { room: 4 }).readUInt32LE();
      assert.deepEqual(client.attribute(session, cut, CKA.VALUE), expected.subarray(0, 16));
      const long = [CKA.VALUE_LEN, expected.byteLength + 1] as const;
      const more = derive(session, privateKey, ecdh(theirs), ...READABLE_SECRET, long);
      client.refused(CKR.KEY_SIZE_RANGE, CMD.DERIVE_KEY, more, { room: 4 });
    });
  }

  test('points that are none, and functions that OP-TEE has not, are refused and kill nothing', () => {
    const tee = new TestTee();
    const { client, session } = tee.connectUser();
    const { privateKey } = client.generatePair(
      session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes([CKA.DERIVE, true]),
    );
    const theirs = createECDH('prime256v1').generateKeys();
    const offCurve = Buffer.concat([Buffer.of(4), Buffer.alloc(64, 7)]);

    for (const [rv, how] of [
      [CKR.MECHANISM_PARAM_INVALID, ecdh(offCurve)],
      [CKR.MECHANISM_PARAM_INVALID, ecdh(theirs.subarray(1))],
      [CKR.FUNCTION_FAILED, ecdh(theirs, 2)],
    ] as const) {
      const control = derive(session, privateKey, how, ...READABLE_SECRET);
      client.refused(rv, CMD.DERIVE_KEY, control, { room: 4 });
    }
    assert.deepEqual(tee.panics, []);
  });

  test('a point in DER gives the same secret; in strict mode it kills the TA, as OP-TEE’s', () => {
    const theirs = createECDH('prime256v1').generateKeys();
    const inDer = Buffer.concat([Buffer.of(4, 65), theirs]);
    const length = [CKA.VALUE_LEN, 32] as const;
    const secrets = (tee: TestTee): readonly unknown[] => {
      const { client, session } = tee.connectUser();
      const { privateKey } = client.generatePair(
        session,
        CKM.EC_KEY_PAIR_GEN,
        attributes([CKA.EC_PARAMS, P256]),
        attributes([CKA.DERIVE, true]),
      );
      return [theirs, inDer].map((point) => {
        const control = derive(session, privateKey, ecdh(point), ...READABLE_SECRET, length);
        const { result, output } = client.call(CMD.DERIVE_KEY, control, { room: 4 });
        return result === 0 ? client.attribute(session, output.readUInt32LE(), CKA.VALUE) : result;
      });
    };

    const [plain, wrapped] = secrets(new TestTee());
    assert.deepEqual(wrapped, plain);
    const strict = TestTee.strict();
    assert.equal(secrets(strict)[1], 0xffff_3024);
    assert.equal(strict.panics.length, 1);
  });

  test('by encryption: the first bytes of the ciphertext (§2.15)', () => {
    const { client, session } = new TestTee().connectUser();
    const value = Buffer.alloc(32, 9);
    const parent = client.create(session, secretKey(CKK.AES, value, [CKA.DERIVE, true]));
    const data = Buffer.alloc(32, 1);
    const vector = Buffer.alloc(16, 2);
    const cases = [
      [CKM.AES_ECB_ENCRYPT_DATA, Buffer.concat([u32(32), data]), 'aes-256-ecb', null],
      [CKM.AES_CBC_ENCRYPT_DATA, Buffer.concat([vector, u32(32), data]), 'aes-256-cbc', vector],
    ] as const;
    for (const [id, parameter, name, iv] of cases) {
      const cipher = createCipheriv(name, value, iv).setAutoPadding(false);
      const expected = cipher.update(data).subarray(0, 24);
      const kind = READABLE_SECRET.filter(([attribute]) => attribute !== CKA.KEY_TYPE);
      const template: Entries = [...kind, [CKA.KEY_TYPE, CKK.AES], [CKA.VALUE_LEN, 24]];
      const control = derive(session, parent, mechanism(id, parameter), ...template);
      const key = client.ok(CMD.DERIVE_KEY, control, { room: 4 }).readUInt32LE();
      assert.deepEqual(client.attribute(session, key, CKA.VALUE), expected);
    }
  });

  test('a key that encrypts for callers derives nothing by encryption', () => {
    const { client, session } = new TestTee().connectUser();
    const use: Entries = [
      [CKA.DERIVE, true],
      [CKA.ENCRYPT, true],
    ];
    const parent = client.create(session, secretKey(CKK.AES, Buffer.alloc(16), ...use));
    const how = mechanism(CKM.AES_ECB_ENCRYPT_DATA, Buffer.concat([u32(16), Buffer.alloc(16)]));
    const control = derive(session, parent, how, ...READABLE_SECRET);
    client.refused(CKR.FUNCTION_FAILED, CMD.DERIVE_KEY, control, { room: 4 });
    const other = client.create(session, secretKey(CKK.AES, Buffer.alloc(16), [CKA.DERIVE, true]));
    const data = Buffer.concat([u32(15), Buffer.alloc(15)]);
    const partial = mechanism(CKM.AES_ECB_ENCRYPT_DATA, data);
    const short = derive(session, other, partial, ...READABLE_SECRET);
    client.refused(CKR.DATA_LEN_RANGE, CMD.DERIVE_KEY, short, { room: 4 });
    const longer = derive(session, other, how, ...READABLE_SECRET, [CKA.VALUE_LEN, 17]);
    client.refused(CKR.DATA_LEN_RANGE, CMD.DERIVE_KEY, longer, { room: 4 });
    const useless = client.create(session, secretKey(CKK.AES, Buffer.alloc(16)));
    const from = derive(session, useless, how, ...READABLE_SECRET);
    client.refused(CKR.KEY_TYPE_INCONSISTENT, CMD.DERIVE_KEY, from, { room: 4 });
  });

  test('what the parent demands of its descendants holds, and its history with it', () => {
    const { client, session } = new TestTee().connectUser();
    const demand = attributes([CKA.SENSITIVE, true]);
    const use: Entries = [
      [CKA.DERIVE, true],
      [CKA.DERIVE_TEMPLATE, demand],
    ];
    const parent = client.create(session, secretKey(CKK.AES, Buffer.alloc(16, 1), ...use));
    const how = mechanism(CKM.AES_ECB_ENCRYPT_DATA, Buffer.concat([u32(16), Buffer.alloc(16)]));

    const open = derive(session, parent, how, ...READABLE_SECRET, [CKA.SENSITIVE, false]);
    client.refused(CKR.TEMPLATE_INCONSISTENT, CMD.DERIVE_KEY, open, { room: 4 });
    const silent = derive(session, parent, how, ...READABLE_SECRET);
    const key = client.ok(CMD.DERIVE_KEY, silent, { room: 4 }).readUInt32LE();
    assert.equal(client.attribute(session, key, CKA.VALUE), undefined);
    assert.deepEqual(client.attribute(session, key, CKA.ALWAYS_SENSITIVE), Buffer.of(0));
    assert.deepEqual(client.attribute(session, key, CKA.LOCAL), Buffer.of(0));
  });
});
