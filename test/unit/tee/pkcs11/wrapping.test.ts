/** Keys that leave wrapped in others and come back. PKCS#11 v2.40 §5.14. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  mechanism,
  P256,
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
