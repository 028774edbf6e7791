/** When an operation starts, goes on and ends, and which keys it takes: PKCS#11 v2.40 §5.8 to §5.12. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  mechanism,
  P256,
  pinArguments,
  signingPair,
  TestTee,
  u32,
  USER_PIN,
  type TaClient,
} from './ta-client.ts';

const SHORT_BUFFER = 0xffff_0010;
const DIGEST = createHash('sha256').update('message').digest();

function signer(): {
  readonly client: TaClient;
  readonly session: number;
  readonly publicKey: number;
  readonly privateKey: number;
} {
  const { client, session } = new TestTee().connectUser();
  const templates = signingPair([CKA.EC_PARAMS, P256]);
  return { client, session, ...client.generatePair(session, CKM.EC_KEY_PAIR_GEN, ...templates) };
}

function init(session: number, key: number, id: number): Buffer {
  return Buffer.concat([u32(session, key), mechanism(id)]);
}

describe('an operation', () => {
  test('asked for its size tells it and waits', () => {
    const { client, session, privateKey } = signer();
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));

    for (const room of [0, 63]) {
      const reply = client.call(CMD.SIGN_ONESHOT, u32(session), { input: DIGEST, room });
      assert.deepEqual(
        [reply.result, reply.rv, reply.size],
        [SHORT_BUFFER, CKR.BUFFER_TOO_SMALL, 64],
      );
    }
    const signature = client.ok(CMD.SIGN_ONESHOT, u32(session), { input: DIGEST, room: 64 });
    assert.equal(signature.byteLength, 64);
  });

  test('ends with its result', () => {
    const { client, session, privateKey } = signer();
    client.sign(session, privateKey, mechanism(CKM.ECDSA), DIGEST);

    const again = { input: DIGEST, room: 64 };
    client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.SIGN_ONESHOT, u32(session), again);
  });

  test('is one at a time in a session, and each session has its own', () => {
    const { client, session, privateKey, publicKey } = signer();
    const second = client.openSession();
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));

    const { OPERATION_ACTIVE } = CKR;
    client.refused(OPERATION_ACTIVE, CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));
    client.refused(OPERATION_ACTIVE, CMD.VERIFY_INIT, init(session, publicKey, CKM.ECDSA));
    client.refused(
      OPERATION_ACTIVE,
      CMD.DIGEST_INIT,
      Buffer.concat([u32(session), mechanism(CKM.SHA256)]),
    );
    const search = Buffer.concat([u32(session), attributes()]);
    client.refused(OPERATION_ACTIVE, CMD.FIND_OBJECTS_INIT, search);
    client.ok(CMD.SIGN_INIT, init(second, privateKey, CKM.ECDSA));
  });

  test('is not reached by the steps of another', () => {
    const { client, session, privateKey } = signer();
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA_SHA256));
    const { OPERATION_NOT_INITIALIZED } = CKR;

    const signature = Buffer.alloc(64);
    client.refused(OPERATION_NOT_INITIALIZED, CMD.VERIFY_UPDATE, u32(session), { input: DIGEST });
    client.refused(OPERATION_NOT_INITIALIZED, CMD.VERIFY_FINAL, u32(session), { signature });
    client.refused(OPERATION_NOT_INITIALIZED, CMD.DIGEST_UPDATE, u32(session), { input: DIGEST });
    client.ok(CMD.SIGN_UPDATE, u32(session), { input: DIGEST });
    client.ok(CMD.SIGN_FINAL, u32(session), { room: 64 });
  });

  test('that took a part of its data does not take the rest at once', () => {
    const { client, session, privateKey } = signer();
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA_SHA256));
    client.ok(CMD.SIGN_UPDATE, u32(session), { input: DIGEST });

    const rest = { input: DIGEST, room: 64 };
    client.refused(CKR.OPERATION_ACTIVE, CMD.SIGN_ONESHOT, u32(session), rest);
    client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.SIGN_FINAL, u32(session), { room: 64 });
  });

  test('over a digest is done at once or not at all', () => {
    const { client, session, privateKey, publicKey } = signer();
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));
    client.refused(CKR.MECHANISM_INVALID, CMD.SIGN_UPDATE, u32(session), { input: DIGEST });
    client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.SIGN_FINAL, u32(session), { room: 64 });
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));
    client.refused(CKR.MECHANISM_INVALID, CMD.SIGN_FINAL, u32(session), { room: 64 });
    client.ok(CMD.VERIFY_INIT, init(session, publicKey, CKM.ECDSA));
    const signature = Buffer.alloc(64);
    client.refused(CKR.MECHANISM_INVALID, CMD.VERIFY_FINAL, u32(session), { signature });
  });

  test('takes parts without data, sent as nothing or as an empty buffer', () => {
    const { client, session, privateKey } = signer();
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA_SHA256));
    client.ok(CMD.SIGN_UPDATE, u32(session));
    client.ok(CMD.SIGN_UPDATE, u32(session), { input: Buffer.alloc(0) });
    client.ok(CMD.SIGN_FINAL, u32(session), { room: 64 });
  });

  test('is given up by its own command, and by logging out', () => {
    const { client, session, privateKey } = signer();
    const release = (command: number): Buffer => u32(session, command);
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));

    const wrong = release(CMD.VERIFY_ONESHOT);
    client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.RELEASE_ACTIVE_PROCESSING, wrong);
    client.refused(CKR.ARGUMENTS_BAD, CMD.RELEASE_ACTIVE_PROCESSING, release(CMD.PING));
    client.ok(CMD.RELEASE_ACTIVE_PROCESSING, release(CMD.SIGN_ONESHOT));
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));
    client.ok(CMD.LOGOUT, u32(session));
    client.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));
    const late = { input: DIGEST, room: 64 };
    client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.SIGN_ONESHOT, u32(session), late);
  });
});

describe('a key', () => {
  test('does only what its attributes allow', () => {
    const { client, session } = new TestTee().connectUser();
    const { publicKey, privateKey } = client.generatePair(
      session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes(),
    );

    const { KEY_FUNCTION_NOT_PERMITTED } = CKR;
    client.refused(KEY_FUNCTION_NOT_PERMITTED, CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));
    client.refused(
      KEY_FUNCTION_NOT_PERMITTED,
      CMD.VERIFY_INIT,
      init(session, publicKey, CKM.ECDSA),
    );
  });

  test('does only what its mechanisms allow, when it lists them', () => {
    const { client, session } = new TestTee().connectUser();
    const { privateKey } = client.generatePair(
      session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes([CKA.SIGN, true], [CKA.ALLOWED_MECHANISMS, u32(CKM.ECDSA_SHA256, CKM.ECDSA)]),
    );

    client.sign(session, privateKey, mechanism(CKM.ECDSA), DIGEST);
    const { KEY_FUNCTION_NOT_PERMITTED } = CKR;
    const other = init(session, privateKey, CKM.ECDSA_SHA384);
    client.refused(KEY_FUNCTION_NOT_PERMITTED, CMD.SIGN_INIT, other);
  });

  test('is of the type that the mechanism takes, and the right half', () => {
    const { client, session, publicKey, privateKey } = signer();
    const secret = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
        [CKA.VALUE, Buffer.alloc(32)],
        [CKA.SIGN, true],
      ),
    );
    const { KEY_TYPE_INCONSISTENT, KEY_HANDLE_INVALID, MECHANISM_INVALID } = CKR;

    const rsa = init(session, privateKey, CKM.SHA256_RSA_PKCS);
    client.refused(KEY_TYPE_INCONSISTENT, CMD.SIGN_INIT, rsa);
    client.refused(KEY_TYPE_INCONSISTENT, CMD.SIGN_INIT, init(session, secret, CKM.ECDSA));
    client.refused(KEY_HANDLE_INVALID, CMD.SIGN_INIT, init(session, 99, CKM.ECDSA));
    client.refused(MECHANISM_INVALID, CMD.SIGN_INIT, init(session, privateKey, 0x9999));
    client.refused(MECHANISM_INVALID, CMD.SIGN_INIT, init(session, privateKey, CKM.SHA256));
    const half = init(session, publicKey, CKM.ECDSA);
    client.refused(CKR.KEY_FUNCTION_NOT_PERMITTED, CMD.SIGN_INIT, half);
  });

  test('that is private is used by the user alone', () => {
    const { client, session } = new TestTee().connectUser();
    const { privateKey } = client.generatePair(
      session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes([CKA.SIGN, true], [CKA.PRIVATE, true], [CKA.TOKEN, true]),
    );
    client.ok(CMD.LOGOUT, u32(session));

    client.refused(CKR.KEY_HANDLE_INVALID, CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));
    client.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));
    const [found] = client.find(session, attributes([CKA.SIGN, true]));
    assert.equal(client.sign(session, found ?? 0, mechanism(CKM.ECDSA), DIGEST).byteLength, 64);
  });

  test('that wants a login for each use cannot be used, as with OP-TEE', () => {
    const { client, session } = new TestTee().connectUser();
    const { privateKey } = client.generatePair(
      session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes([CKA.SIGN, true], [CKA.ALWAYS_AUTHENTICATE, true]),
    );
    client.ok(CMD.SIGN_INIT, init(session, privateKey, CKM.ECDSA));

    const data = { input: DIGEST, room: 64 };
    client.refused(CKR.USER_NOT_LOGGED_IN, CMD.SIGN_ONESHOT, u32(session), data);
    client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.SIGN_ONESHOT, u32(session), data);
  });
});

describe('a digest (PKCS#11 v2.40 §5.10)', () => {
  const start = (session: number, id: number): Buffer =>
    Buffer.concat([u32(session), mechanism(id)]);

  test('is that of OpenSSL, at once and in parts', () => {
    const { client, session } = new TestTee().connectUser();
    const hashes = [
      ['md5', CKM.MD5],
      ['sha1', CKM.SHA_1],
      ['sha224', CKM.SHA224],
      ['sha256', CKM.SHA256],
      ['sha384', CKM.SHA384],
      ['sha512', CKM.SHA512],
    ] as const;
    for (const [name, id] of hashes) {
      const expected = createHash(name).update('message').digest();
      client.ok(CMD.DIGEST_INIT, start(session, id));
      const input = Buffer.from('message');
      assert.deepEqual(client.ok(CMD.DIGEST_ONESHOT, u32(session), { input, room: 64 }), expected);
      client.ok(CMD.DIGEST_INIT, start(session, id));
      client.ok(CMD.DIGEST_UPDATE, u32(session), { input: input.subarray(0, 3) });
      client.ok(CMD.DIGEST_UPDATE, u32(session), { input: input.subarray(3) });
      const size = client.call(CMD.DIGEST_FINAL, u32(session), { room: 0 });
      assert.deepEqual([size.rv, size.size], [CKR.BUFFER_TOO_SMALL, expected.byteLength]);
      assert.deepEqual(client.ok(CMD.DIGEST_FINAL, u32(session), { room: 64 }), expected);
    }
  });

  test('takes the value of a secret key, sensitive or not, and of no other', () => {
    const { client, session, privateKey } = signer();
    const secret = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
        [CKA.VALUE, 'message'],
        [CKA.SENSITIVE, true],
      ),
    );
    client.ok(CMD.DIGEST_INIT, start(session, CKM.SHA256));
    client.ok(CMD.DIGEST_KEY, u32(session, secret));

    assert.deepEqual(client.ok(CMD.DIGEST_FINAL, u32(session), { room: 32 }), DIGEST);
    client.ok(CMD.DIGEST_INIT, start(session, CKM.SHA256));
    client.refused(CKR.KEY_INDIGESTIBLE, CMD.DIGEST_KEY, u32(session, privateKey));
    client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.DIGEST_FINAL, u32(session), { room: 32 });
  });

  test('takes no parameter and no other mechanism', () => {
    const { client, session } = new TestTee().connectUser();
    const parameter = Buffer.concat([u32(session), mechanism(CKM.SHA256, Buffer.alloc(1))]);

    client.refused(CKR.MECHANISM_PARAM_INVALID, CMD.DIGEST_INIT, parameter);
    client.refused(CKR.MECHANISM_INVALID, CMD.DIGEST_INIT, start(session, CKM.ECDSA));
  });
});
