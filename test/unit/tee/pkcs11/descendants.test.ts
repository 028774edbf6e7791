/** Keys that come out of other keys: derived, wrapped and unwrapped. PKCS#11 v2.40 §5.14. */
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
  type TaClient,
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

describe('wrapping keys', () => {
  const VECTOR = Buffer.alloc(16, 3);
  const GCM = Buffer.concat([u32(16), VECTOR, u32(0), u32(128)]);
  const HOW = [
    mechanism(CKM.AES_ECB),
    mechanism(CKM.AES_CBC, VECTOR),
    mechanism(CKM.AES_GCM, GCM),
  ] as const;

  interface Wrapper {
    readonly client: TaClient;
    readonly session: number;
    readonly wrapper: number;
  }

  function aesWrapper(...more: Entries): Wrapper {
    const { client, session } = new TestTee().connectUser();
    const use: Entries = [[CKA.WRAP, true], [CKA.UNWRAP, true], ...more];
    const wrapper = client.create(session, secretKey(CKK.AES, Buffer.alloc(32, 4), ...use));
    return { client, session, wrapper };
  }

  function wrap({ client, session, wrapper }: Wrapper, key: number, how: Buffer): Buffer {
    const control = Buffer.concat([u32(session, wrapper, key), how]);
    const asked = client.call(CMD.WRAP_KEY, control, { room: 0 });
    const wrapped = client.ok(CMD.WRAP_KEY, control, { room: 2048 });
    assert.deepEqual([asked.rv, asked.size], [CKR.BUFFER_TOO_SMALL, wrapped.byteLength]);
    return wrapped;
  }

  function unwrapControl(session: number, key: number, how: Buffer, ...template: Entries): Buffer {
    return Buffer.concat([u32(session, key), how, attributes(...template)]);
  }

  test('a secret key comes back as it left, under every AES mode that wraps', () => {
    const aes = aesWrapper();
    const { client, session, wrapper } = aes;
    const value = Buffer.from('a secret of 29 bytes, no more');
    const kept = client.create(
      session,
      secretKey(CKK.GENERIC_SECRET, value, [CKA.EXTRACTABLE, true]),
    );
    for (const how of HOW) {
      const input = wrap(aes, kept, how);
      assert.equal(input.indexOf(value.subarray(0, 16)), -1);
      const template: Entries = [...READABLE_SECRET, [CKA.VALUE_LEN, value.byteLength]];
      const control = unwrapControl(session, wrapper, how, ...template);
      const back = client.ok(CMD.UNWRAP_KEY, control, { input, room: 4 }).readUInt32LE();
      assert.deepEqual(client.attribute(session, back, CKA.VALUE), value);
      for (const id of [CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL]) {
        assert.deepEqual(client.attribute(session, back, id), Buffer.of(0));
      }
    }
  });

  test('an RSA private key comes back and signs as before', () => {
    const aes = aesWrapper();
    const { client, session, wrapper } = aes;
    const { privateKey } = client.generatePair(
      session,
      CKM.RSA_PKCS_KEY_PAIR_GEN,
      attributes([CKA.MODULUS_BITS, 1024]),
      attributes([CKA.EXTRACTABLE, true], [CKA.SENSITIVE, true], [CKA.SIGN, true]),
    );
    const sign = mechanism(CKM.SHA256_RSA_PKCS);
    const signature = client.sign(session, privateKey, sign, VECTOR);
    for (const how of HOW) {
      const input = wrap(aes, privateKey, how);
      const control = unwrapControl(
        session,
        wrapper,
        how,
        [CKA.CLASS, CKO.PRIVATE_KEY],
        [CKA.KEY_TYPE, CKK.RSA],
        [CKA.SIGN, true],
      );
      const back = client.ok(CMD.UNWRAP_KEY, control, { input, room: 4 }).readUInt32LE();
      assert.deepEqual(client.sign(session, back, sign, VECTOR), signature);
      assert.deepEqual(client.attribute(session, back, CKA.EXTRACTABLE), Buffer.of(1));
    }
  });

  test('under RSA: with an AES key of its own in between (§2.1.21)', () => {
    const { client, session } = new TestTee().connectUser();
    const { publicKey, privateKey } = client.generatePair(
      session,
      CKM.RSA_PKCS_KEY_PAIR_GEN,
      attributes([CKA.MODULUS_BITS, 1024], [CKA.WRAP, true]),
      attributes([CKA.UNWRAP, true]),
    );
    const value = Buffer.alloc(32, 8);
    const kept = client.create(session, secretKey(CKK.AES, value, [CKA.EXTRACTABLE, true]));
    const how = mechanism(CKM.RSA_AES_KEY_WRAP, u32(256, CKM.SHA_1, 1, 1, 0));

    const wrapControl = Buffer.concat([u32(session, publicKey, kept), how]);
    const input = client.ok(CMD.WRAP_KEY, wrapControl, { room: 512 });

    assert.equal(input.byteLength, 128 + 40);
    const template: Entries = [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
    ];
    const control = unwrapControl(session, privateKey, how, ...template);
    const back = client.ok(CMD.UNWRAP_KEY, control, { input, room: 4 }).readUInt32LE();
    assert.deepEqual(client.attribute(session, back, CKA.VALUE), value);
    const forged = Buffer.from(input);
    forged.writeUInt8(forged.readUInt8(140) ^ 1, 140);
    client.refused(CKR.WRAPPED_KEY_INVALID, CMD.UNWRAP_KEY, control, { input: forged, room: 4 });
    const cut = { input: input.subarray(0, 128), room: 4 };
    client.refused(CKR.WRAPPED_KEY_LEN_RANGE, CMD.UNWRAP_KEY, control, cut);
  });

  test('a key leaves only if it may, and only under a key that it accepts', () => {
    const { client, session, wrapper } = aesWrapper([
      CKA.WRAP_TEMPLATE,
      attributes([CKA.KEY_TYPE, CKK.GENERIC_SECRET]),
    ]);
    const value = Buffer.alloc(16, 1);
    const make = (keyType: number, ...more: Entries): number =>
      client.create(session, secretKey(keyType, value, ...more));
    const extractable = [CKA.EXTRACTABLE, true] as const;
    const trusting = [CKA.WRAP_WITH_TRUSTED, true] as const;
    const plain = client.create(session, secretKey(CKK.AES, value, [CKA.WRAP, false]));
    const refused = (rv: number, key: number, wrapping = wrapper): void => {
      const control = Buffer.concat([u32(session, wrapping, key), mechanism(CKM.AES_ECB)]);
      client.refused(rv, CMD.WRAP_KEY, control, { room: 64 });
    };

    refused(CKR.KEY_UNEXTRACTABLE, make(CKK.GENERIC_SECRET));
    refused(CKR.KEY_NOT_WRAPPABLE, make(CKK.GENERIC_SECRET, extractable, trusting));
    refused(CKR.KEY_HANDLE_INVALID, make(CKK.AES, extractable));
    refused(CKR.KEY_HANDLE_INVALID, 99);
    const good = make(CKK.GENERIC_SECRET, extractable);
    refused(CKR.WRAPPING_KEY_HANDLE_INVALID, good, 99);
    refused(CKR.WRAPPING_KEY_HANDLE_INVALID, wrapper);
    refused(CKR.WRAPPING_KEY_TYPE_INCONSISTENT, good, plain);
    const { privateKey } = client.generatePair(
      session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes(extractable),
    );
    refused(CKR.KEY_HANDLE_INVALID, privateKey);
    const open = aesWrapper();
    const pair = open.client.generatePair(
      open.session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes(extractable),
    );
    const ec = u32(open.session, open.wrapper, pair.privateKey);
    const control = Buffer.concat([ec, mechanism(CKM.AES_ECB)]);
    open.client.refused(CKR.GENERAL_ERROR, CMD.WRAP_KEY, control, { room: 256 });
  });

  test('what the unwrapping key demands holds, and bytes that are no key are refused', () => {
    const demand = attributes([CKA.EXTRACTABLE, false]);
    const { client, session, wrapper } = aesWrapper([CKA.UNWRAP_TEMPLATE, demand]);
    const kind = READABLE_SECRET.filter(([id]) => id !== CKA.EXTRACTABLE);
    const input = Buffer.alloc(32, 5);
    const unwrap = (rv: number, how: Buffer, bytes: Buffer, ...template: Entries): void => {
      const control = unwrapControl(session, wrapper, how, ...template);
      client.refused(rv, CMD.UNWRAP_KEY, control, { input: bytes, room: 4 });
    };

    const control = unwrapControl(session, wrapper, mechanism(CKM.AES_ECB), ...kind);
    const key = client.ok(CMD.UNWRAP_KEY, control, { input, room: 4 }).readUInt32LE();
    assert.equal(client.attribute(session, key, CKA.VALUE), undefined);
    unwrap(CKR.TEMPLATE_INCONSISTENT, mechanism(CKM.AES_ECB), input, ...READABLE_SECRET);
    unwrap(CKR.WRAPPED_KEY_LEN_RANGE, mechanism(CKM.AES_ECB), input.subarray(1), ...kind);
    unwrap(CKR.WRAPPED_KEY_INVALID, mechanism(CKM.AES_GCM, GCM), input, ...kind);
    const rsa: Entries = [
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [CKA.KEY_TYPE, CKK.RSA],
    ];
    unwrap(CKR.ARGUMENTS_BAD, mechanism(CKM.AES_ECB), input, ...rsa);
    const pem: Entries = [[CKA.CLASS, CKO.DATA]];
    unwrap(CKR.TEMPLATE_INCONSISTENT, mechanism(CKM.AES_ECB), input, ...pem);
  });
});
