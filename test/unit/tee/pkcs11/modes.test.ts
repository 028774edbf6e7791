/** Where strict mode is OP-TEE's TA and the default does what PKCS#11 asks: test/tee/README.md. */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  hex,
  mechanism,
  P256,
  pinArguments,
  signingPair,
  type TaClient,
  TestTee,
  u32,
  USER_PIN,
  type TemplateValue,
} from './ta-client.ts';

const TARGET_DEAD = 0xffff_3024;
const KEY = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const VECTOR = Buffer.alloc(16, 3);
const CONTEXT_SPECIFIC = 2;

const RSA = generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey;
const RSA_KEY = rsaKey();

type Entries = readonly (readonly [number, TemplateValue])[];

function aesKey(tee: TestTee, ...more: Entries): Keyed {
  const { client, session } = tee.connectUser();
  const kind: Entries = [
    [CKA.CLASS, CKO.SECRET_KEY],
    [CKA.KEY_TYPE, CKK.AES],
    [CKA.VALUE, KEY],
    [CKA.ENCRYPT, true],
    [CKA.DECRYPT, true],
  ];
  return { tee, client, session, key: client.create(session, attributes(...kind, ...more)) };
}

interface Keyed {
  readonly tee: TestTee;
  readonly client: TaClient;
  readonly session: number;
  readonly key: number;
}

function init({ client, session, key }: Keyed, command: number, how: Buffer): number | undefined {
  return client.call(command, Buffer.concat([u32(session, key), how])).rv;
}

function rsaKey(): Buffer {
  const { n = '', e = '', d = '' } = RSA.export({ format: 'jwk' });
  const numbers = [n, e, d].map((number) => Buffer.from(number, 'base64url'));
  const [modulus, exponent, secret] = numbers as [Buffer, Buffer, Buffer];
  return attributes(
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.KEY_TYPE, CKK.RSA],
    [CKA.SIGN, true],
    [CKA.MODULUS, modulus],
    [CKA.PUBLIC_EXPONENT, exponent],
    [CKA.PRIVATE_EXPONENT, secret],
  );
}

describe('strict mode and the default', () => {
  test('CTR counts with the bits that are asked for only by default: 128, or OP-TEE’s 1', () => {
    const one = mechanism(CKM.AES_CTR, Buffer.concat([u32(1), VECTOR]));
    const all = mechanism(CKM.AES_CTR, Buffer.concat([u32(128), VECTOR]));
    assert.equal(init(aesKey(TestTee.strict()), CMD.ENCRYPT_INIT, one), CKR.OK);
    const refused = init(aesKey(TestTee.strict()), CMD.ENCRYPT_INIT, all);
    assert.equal(refused, CKR.MECHANISM_PARAM_INVALID);
    assert.equal(init(aesKey(new TestTee()), CMD.ENCRYPT_INIT, all), CKR.OK);
  });

  test('parts of a message are whole blocks only in strict mode', () => {
    for (const [tee, rv] of [
      [TestTee.strict(), CKR.DATA_LEN_RANGE],
      [new TestTee(), CKR.OK],
    ] as const) {
      const keyed = aesKey(tee);
      assert.equal(init(keyed, CMD.ENCRYPT_INIT, mechanism(CKM.AES_CBC, VECTOR)), CKR.OK);
      const part = { input: Buffer.alloc(7), room: 64 };
      assert.equal(keyed.client.call(CMD.ENCRYPT_UPDATE, u32(keyed.session), part).rv, rv);
    }
  });

  test('a step without a parameter for data is refused only in strict mode', () => {
    for (const [tee, rv] of [
      [TestTee.strict(), CKR.ARGUMENTS_BAD],
      [new TestTee(), CKR.OK],
    ] as const) {
      const keyed = aesKey(tee);
      assert.equal(init(keyed, CMD.ENCRYPT_INIT, mechanism(CKM.AES_CBC, VECTOR)), CKR.OK);
      assert.equal(keyed.client.call(CMD.ENCRYPT_ONESHOT, u32(keyed.session), { room: 16 }).rv, rv);
    }
  });

  test('a key that wants the PIN for each use can be used by default (PKCS#11 v2.40 §4.9)', () => {
    const sign = (tee: TestTee, pin: string): readonly string[] => {
      const { client, session } = tee.connectUser();
      const { privateKey } = client.generatePair(
        session,
        CKM.EC_KEY_PAIR_GEN,
        attributes([CKA.EC_PARAMS, P256]),
        attributes([CKA.SIGN, true], [CKA.PRIVATE, true], [CKA.ALWAYS_AUTHENTICATE, true]),
      );
      const start = Buffer.concat([u32(session, privateKey), mechanism(CKM.ECDSA)]);
      client.ok(CMD.SIGN_INIT, start);
      const login = client.call(CMD.LOGIN, pinArguments(session, CONTEXT_SPECIFIC, pin)).rv;
      const data = { input: Buffer.alloc(32, 1), room: 64 };
      const signed = client.call(CMD.SIGN_ONESHOT, u32(session), data).rv;
      client.ok(CMD.SIGN_INIT, start);
      const again = client.call(CMD.SIGN_ONESHOT, u32(session), data).rv;
      return [login, signed, again].map(hex);
    };
    const { OK, OPERATION_NOT_INITIALIZED, PIN_INCORRECT, USER_NOT_LOGGED_IN } = CKR;

    assert.deepEqual(sign(new TestTee(), USER_PIN), [OK, OK, USER_NOT_LOGGED_IN].map(hex));
    assert.deepEqual(
      sign(new TestTee(), 'wrong'),
      [PIN_INCORRECT, USER_NOT_LOGGED_IN, USER_NOT_LOGGED_IN].map(hex),
    );
    assert.deepEqual(
      sign(TestTee.strict(), USER_PIN),
      [OPERATION_NOT_INITIALIZED, USER_NOT_LOGGED_IN, USER_NOT_LOGGED_IN].map(hex),
    );
    const { client, session } = new TestTee().connectUser();
    const idle = pinArguments(session, CONTEXT_SPECIFIC, USER_PIN);
    client.refused(OPERATION_NOT_INITIALIZED, CMD.LOGIN, idle);
  });

  test('EdDSA without a parameter is plain only by default', () => {
    for (const [tee, rv] of [
      [TestTee.strict(), CKR.ARGUMENTS_BAD],
      [new TestTee(), CKR.OK],
    ] as const) {
      const { client, session } = tee.connectUser();
      const type = [CKA.KEY_TYPE, CKK.EC_EDWARDS] as const;
      const { privateKey } = client.generatePair(
        session,
        CKM.EC_EDWARDS_KEY_PAIR_GEN,
        attributes(type, [CKA.EC_PARAMS, Buffer.from('130c656477617264733235353139', 'hex')]),
        attributes(type, [CKA.SIGN, true]),
      );
      const start = Buffer.concat([u32(session, privateKey), mechanism(CKM.EDDSA)]);
      assert.equal(client.call(CMD.SIGN_INIT, start).rv, rv);
    }
  });

  test('raw RSA gives a number in strict mode, and by default a block', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 512 });
    const jwk = publicKey.export({ format: 'jwk' });
    const results = [TestTee.strict(), new TestTee()].map((tee) => {
      const { client, session } = tee.connectUser();
      const key = client.create(
        session,
        attributes(
          [CKA.CLASS, CKO.PUBLIC_KEY],
          [CKA.KEY_TYPE, CKK.RSA],
          [CKA.MODULUS, Buffer.from(jwk.n ?? '', 'base64url')],
          [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)],
          [CKA.ENCRYPT, true],
        ),
      );
      init({ tee, client, session, key }, CMD.ENCRYPT_INIT, mechanism(CKM.RSA_X_509));
      return client.ok(CMD.ENCRYPT_ONESHOT, u32(session), { input: Buffer.of(1), room: 64 });
    });
    const block = Buffer.alloc(64);
    block[63] = 1;
    assert.deepEqual(results, [Buffer.of(1), block]);
  });

  test('C_SignFinal asked for its size forgets the message in strict mode, as OP-TEE does', () => {
    const signed = (tee: TestTee, ...sizes: readonly number[]): Buffer => {
      const { client, session } = tee.connectUser();
      const key = client.create(session, RSA_KEY);
      init({ tee, client, session, key }, CMD.SIGN_INIT, mechanism(CKM.SHA256_RSA_PKCS));
      client.ok(CMD.SIGN_UPDATE, u32(session), { input: KEY });
      for (const room of sizes)
        client.refused(CKR.BUFFER_TOO_SMALL, CMD.SIGN_FINAL, u32(session), { room });
      return client.ok(CMD.SIGN_FINAL, u32(session), { room: 64 });
    };
    const judge = createPublicKey(RSA);

    assert.ok(verify('sha256', KEY, judge, signed(new TestTee(), 0)));
    assert.ok(verify('sha256', KEY, judge, signed(TestTee.strict())));
    assert.ok(verify('sha256', Buffer.alloc(0), judge, signed(TestTee.strict(), 0)));
  });

  test('RSA_AES_KEY_WRAP also encrypts by default; OP-TEE claims to, and dies of it', () => {
    const how = mechanism(CKM.RSA_AES_KEY_WRAP, u32(256, CKM.SHA_1, 1, 1, 0));
    const text = randomBytes(21);
    const run = (tee: TestTee): Buffer | number => {
      const { client, session } = tee.connectUser();
      const pair = client.generatePair(
        session,
        CKM.RSA_PKCS_KEY_PAIR_GEN,
        attributes([CKA.MODULUS_BITS, 1024], [CKA.ENCRYPT, true]),
        attributes([CKA.DECRYPT, true]),
      );
      init({ tee, client, session, key: pair.publicKey }, CMD.ENCRYPT_INIT, how);
      const data = { input: text, room: 400 };
      const { result, output } = client.call(CMD.ENCRYPT_ONESHOT, u32(session), data);
      if (result !== 0) return result;
      init({ tee, client, session, key: pair.privateKey }, CMD.DECRYPT_INIT, how);
      return client.ok(CMD.DECRYPT_ONESHOT, u32(session), { input: output, room: 400 });
    };

    assert.deepEqual(run(new TestTee()), text);
    assert.equal(run(TestTee.strict()), TARGET_DEAD);
  });

  test('what kills OP-TEE’s TA kills the strict one, and only that', () => {
    const generic: Entries = [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      [CKA.VALUE, Buffer.alloc(32, 7)],
      [CKA.SIGN, true],
    ];
    const twoHashes = (tee: TestTee): number => {
      const { client, session } = tee.connectUser();
      const key = client.create(session, attributes(...generic));
      const mac = (id: number): number =>
        client.call(CMD.SIGN_INIT, Buffer.concat([u32(session, key), mechanism(id)])).result;
      assert.equal(mac(CKM.SHA256_HMAC), 0);
      client.ok(CMD.SIGN_ONESHOT, u32(session), { input: Buffer.of(1), room: 64 });
      return mac(CKM.SHA_1_HMAC);
    };
    const oneBlock = (tee: TestTee): number => {
      const keyed = aesKey(tee);
      init(keyed, CMD.ENCRYPT_INIT, mechanism(CKM.AES_CTS, VECTOR));
      const data = { input: Buffer.alloc(16), room: 16 };
      return keyed.client.call(CMD.ENCRYPT_ONESHOT, u32(keyed.session), data).result;
    };
    const noOwner = (tee: TestTee): number => {
      const client = tee.connect();
      return client.call(CMD.LOGIN, pinArguments(client.openSession(), 0, '1234')).result;
    };

    for (const deadly of [twoHashes, oneBlock, noOwner]) {
      const [strict, lenient] = [TestTee.strict(), new TestTee()];
      assert.deepEqual([deadly(strict), deadly(lenient)], [TARGET_DEAD, 0], deadly.name);
      assert.deepEqual([strict.panics.length, lenient.panics.length], [1, 0], deadly.name);
      strict.connect().ok(CMD.PING, u32(0), { room: 12 });
    }
  });
});

test('a key too small for the hash kills the TA in strict mode and is refused by default', () => {
  for (const [tee, isKilled] of [
    [TestTee.strict(), true],
    [new TestTee(), false],
  ] as const) {
    const { client, session } = tee.connectUser();
    const templates = signingPair([CKA.MODULUS_BITS, 512]);
    const pair = client.generatePair(session, CKM.RSA_PKCS_KEY_PAIR_GEN, ...templates);
    const start = Buffer.concat([u32(session, pair.privateKey), mechanism(CKM.SHA512_RSA_PKCS)]);
    client.ok(CMD.SIGN_INIT, start);
    const data = { input: Buffer.from('a message'), room: 64 };
    if (isKilled) {
      assert.equal(client.call(CMD.SIGN_ONESHOT, u32(session), data).result, TARGET_DEAD);
    } else {
      client.refused(CKR.GENERAL_ERROR, CMD.SIGN_ONESHOT, u32(session), data);
      client.ok(CMD.PING, u32(0), { room: 12 });
    }
  }
});
