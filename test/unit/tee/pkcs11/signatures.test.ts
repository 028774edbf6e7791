/** Every signature is judged by node:crypto, which had no part in making it where that is possible. */
import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  createPublicKey,
  publicDecrypt,
  verify,
  type KeyObject,
} from 'node:crypto';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  ED25519,
  mechanism,
  P192,
  P224,
  P256,
  P384,
  P521,
  signingPair,
  TestTee,
  u32,
  type TaClient,
} from './ta-client.ts';

const MESSAGE = Buffer.from('a message that somebody signs');
const OTHER_MESSAGE = Buffer.from('a message that nobody signed');

interface Keys {
  readonly client: TaClient;
  readonly session: number;
  readonly publicKey: number;
  readonly privateKey: number;
  readonly judge: KeyObject;
}

function ecKeys(params: Buffer): Keys {
  const { client, session } = new TestTee().connectUser();
  const templates = signingPair([CKA.EC_PARAMS, params]);
  const pair = client.generatePair(session, CKM.EC_KEY_PAIR_GEN, ...templates);
  const point = client.attribute(session, pair.publicKey, CKA.EC_POINT) ?? Buffer.alloc(0);
  const judge = ecJudge(params, point.subarray(point.indexOf(0x04, 2)));
  return { client, session, ...pair, judge };
}

/** RFC 5480 §2: a SubjectPublicKeyInfo. */
function ecJudge(params: Buffer, point: Buffer): KeyObject {
  const algorithm = der(0x30, Buffer.from('06072a8648ce3d0201', 'hex'), params);
  const key = der(0x30, algorithm, der(0x03, Buffer.of(0), point));
  return createPublicKey({ key, format: 'der', type: 'spki' });
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { byteLength } = content;
  const long = byteLength < 0x100 ? [0x81, byteLength] : [0x82, byteLength >> 8, byteLength & 0xff];
  return Buffer.concat([Buffer.of(tag, ...(byteLength < 0x80 ? [byteLength] : long)), content]);
}

function rsaKeys(bits: number): Keys {
  const { client, session } = new TestTee().connectUser();
  const templates = signingPair([CKA.MODULUS_BITS, bits]);
  const pair = client.generatePair(session, CKM.RSA_PKCS_KEY_PAIR_GEN, ...templates);
  const n = encoded(client.attribute(session, pair.publicKey, CKA.MODULUS));
  const e = encoded(client.attribute(session, pair.publicKey, CKA.PUBLIC_EXPONENT));
  const judge = createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
  return { client, session, ...pair, judge };
}

function edKeys(): Keys {
  const { client, session } = new TestTee().connectUser();
  const templates = signingPair([CKA.EC_PARAMS, ED25519], [CKA.KEY_TYPE, CKK.EC_EDWARDS]);
  const pair = client.generatePair(session, CKM.EC_EDWARDS_KEY_PAIR_GEN, ...templates);
  const x = encoded(client.attribute(session, pair.publicKey, CKA.EC_POINT));
  const judge = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return { client, session, ...pair, judge };
}

function encoded(value: Buffer | undefined): string {
  assert.ok(value);
  return value.toString('base64url');
}

/** The TA accepts its own signature, and no other message or signature. */
function judgedByTa(
  { client, session, publicKey }: Keys,
  how: Buffer,
  data: Buffer,
  signature: Buffer,
): void {
  assert.equal(client.verify(session, publicKey, how, { data, signature }), CKR.OK);
  const altered = Buffer.from(data);
  altered.writeUInt8(altered.readUInt8(0) ^ 1, 0);
  const { SIGNATURE_INVALID, SIGNATURE_LEN_RANGE } = CKR;
  const wrongData = { data: altered, signature };
  assert.equal(client.verify(session, publicKey, how, wrongData), SIGNATURE_INVALID);
  const bent = Buffer.from(signature);
  bent.writeUInt8(bent.readUInt8(bent.byteLength - 1) ^ 1, bent.byteLength - 1);
  assert.equal(
    client.verify(session, publicKey, how, { data, signature: bent }),
    SIGNATURE_INVALID,
  );
  const short = { data, signature: signature.subarray(1) };
  // OP-TEE's TA leaves the length of an EdDSA signature to what verifies it.
  const rv = how.readUInt32LE() === CKM.EDDSA ? SIGNATURE_INVALID : SIGNATURE_LEN_RANGE;
  assert.equal(client.verify(session, publicKey, how, short), rv);
}

const HASHES = [
  ['sha1', CKM.ECDSA_SHA1, CKM.SHA1_RSA_PKCS, CKM.SHA1_RSA_PKCS_PSS, CKM.SHA_1, 1],
  ['sha224', CKM.ECDSA_SHA224, CKM.SHA224_RSA_PKCS, CKM.SHA224_RSA_PKCS_PSS, CKM.SHA224, 5],
  ['sha256', CKM.ECDSA_SHA256, CKM.SHA256_RSA_PKCS, CKM.SHA256_RSA_PKCS_PSS, CKM.SHA256, 2],
  ['sha384', CKM.ECDSA_SHA384, CKM.SHA384_RSA_PKCS, CKM.SHA384_RSA_PKCS_PSS, CKM.SHA384, 3],
  ['sha512', CKM.ECDSA_SHA512, CKM.SHA512_RSA_PKCS, CKM.SHA512_RSA_PKCS_PSS, CKM.SHA512, 4],
] as const;

describe('ECDSA (PKCS#11 v2.40 §2.3)', () => {
  for (const [curve, params, bytes] of [
    ['P-192', P192, 48],
    ['P-224', P224, 56],
    ['P-256', P256, 64],
    ['P-384', P384, 96],
    ['P-521', P521, 132],
  ] as const) {
    test(`over a digest, ${curve}: verified as a signature over the message`, () => {
      const keys = ecKeys(params);
      const { client, session, privateKey, judge } = keys;
      for (const [hash] of HASHES) {
        const digest = createHash(hash).update(MESSAGE).digest();
        const signature = client.sign(session, privateKey, mechanism(CKM.ECDSA), digest);

        assert.equal(signature.byteLength, bytes);
        const key = { key: judge, dsaEncoding: 'ieee-p1363' } as const;
        assert.ok(verify(hash, MESSAGE, key, signature), hash);
        assert.ok(!verify(hash, OTHER_MESSAGE, key, signature));
      }
      const digest = createHash('sha256').update(MESSAGE).digest();
      const signature = client.sign(session, privateKey, mechanism(CKM.ECDSA), digest);
      judgedByTa(keys, mechanism(CKM.ECDSA), digest, signature);
    });

    test(`with a hash, ${curve}: at once and in parts`, () => {
      const keys = ecKeys(params);
      for (const [hash, id] of HASHES) {
        const signature = keys.client.sign(keys.session, keys.privateKey, mechanism(id), MESSAGE);
        const key = { key: keys.judge, dsaEncoding: 'ieee-p1363' } as const;
        assert.ok(verify(hash, MESSAGE, key, signature), hash);
        assert.ok(verify(hash, MESSAGE, key, signInParts(keys, mechanism(id))), hash);
        judgedByTa(keys, mechanism(id), MESSAGE, signature);
        verifyInParts(keys, mechanism(id), signature);
      }
    });
  }

  test('a digest longer than the order is cut, as OP-TEE cuts it; an empty one is refused', () => {
    const keys = ecKeys(P256);
    const { client, session, privateKey, judge } = keys;
    const digest = createHash('sha256').update(MESSAGE).digest();
    const longer = Buffer.concat([digest, Buffer.from('more')]);

    const signature = client.sign(session, privateKey, mechanism(CKM.ECDSA), longer);

    assert.ok(verify('sha256', MESSAGE, { key: judge, dsaEncoding: 'ieee-p1363' }, signature));
    client.ok(CMD.SIGN_INIT, Buffer.concat([u32(session, privateKey), mechanism(CKM.ECDSA)]));
    const empty = { input: Buffer.alloc(0), room: 64 };
    client.refused(CKR.FUNCTION_FAILED, CMD.SIGN_ONESHOT, u32(session), empty);
  });

  test('two signatures of the same digest differ: the nonce is fresh', () => {
    const { client, session, privateKey } = ecKeys(P256);
    const digest = createHash('sha256').update(MESSAGE).digest();
    const [one, two] = [0, 1].map(() =>
      client.sign(session, privateKey, mechanism(CKM.ECDSA), digest).subarray(0, 32),
    );
    assert.notDeepEqual(one, two);
  });
});

describe('RSA (PKCS#11 v2.40 §2.1)', () => {
  const keys = rsaKeys(2048);
  const { client, session, privateKey, publicKey, judge } = keys;

  test('PKCS #1 v1.5 over a DigestInfo is a signature over the message', () => {
    const prefix = Buffer.from('3031300d060960864801650304020105000420', 'hex');
    const info = Buffer.concat([prefix, createHash('sha256').update(MESSAGE).digest()]);

    const signature = client.sign(session, privateKey, mechanism(CKM.RSA_PKCS), info);

    assert.ok(verify('sha256', MESSAGE, judge, signature));
    judgedByTa(keys, mechanism(CKM.RSA_PKCS), info, signature);
  });

  for (const [hash, , pkcs1, pss, hashMechanism, mgf] of HASHES) {
    test(`PKCS #1 v1.5 with ${hash}: at once and in parts`, () => {
      const signature = client.sign(session, privateKey, mechanism(pkcs1), MESSAGE);

      assert.ok(verify(hash, MESSAGE, judge, signature));
      assert.deepEqual(signInParts(keys, mechanism(pkcs1)), signature);
      judgedByTa(keys, mechanism(pkcs1), MESSAGE, signature);
      verifyInParts(keys, mechanism(pkcs1), signature);
    });

    test(`PSS with ${hash}: at once, in parts, and over the digest`, () => {
      const digest = createHash(hash).update(MESSAGE).digest();
      for (const saltLength of [0, 20, digest.byteLength]) {
        const how = mechanism(pss, u32(hashMechanism, mgf, saltLength));
        const raw = mechanism(CKM.RSA_PKCS_PSS, u32(hashMechanism, mgf, saltLength));
        const key = { key: judge, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
        const signature = client.sign(session, privateKey, how, MESSAGE);
        const overDigest = client.sign(session, privateKey, raw, digest);

        for (const made of [signature, overDigest, signInParts(keys, how)]) {
          assert.ok(verify(hash, MESSAGE, key, made));
          assert.ok(!verify(hash, OTHER_MESSAGE, key, made));
        }
        judgedByTa(keys, how, MESSAGE, overDigest);
        judgedByTa(keys, raw, digest, signature);
      }
    });
  }

  test('PSS parameters that do not fit mechanism, data or key are refused', () => {
    const init = (how: Buffer): Buffer => Buffer.concat([u32(session, privateKey), how]);
    const { FUNCTION_FAILED, KEY_SIZE_RANGE, DATA_LEN_RANGE } = CKR;
    const refused: readonly (readonly [number, Buffer])[] = [
      [FUNCTION_FAILED, mechanism(CKM.SHA256_RSA_PKCS_PSS, u32(CKM.SHA384, 3, 32))],
      [FUNCTION_FAILED, mechanism(CKM.SHA256_RSA_PKCS_PSS, u32(CKM.SHA256, 3, 32))],
      [FUNCTION_FAILED, mechanism(CKM.RSA_PKCS_PSS, u32(CKM.MD5, 0, 16))],
      [FUNCTION_FAILED, mechanism(CKM.SHA256_RSA_PKCS_PSS)],
      [KEY_SIZE_RANGE, mechanism(CKM.SHA256_RSA_PKCS_PSS, u32(CKM.SHA256, 2, 223))],
    ];
    for (const [rv, how] of refused) client.refused(rv, CMD.SIGN_INIT, init(how));
    client.ok(CMD.SIGN_INIT, init(mechanism(CKM.RSA_PKCS_PSS, u32(CKM.SHA256, 2, 32))));
    const short = { input: Buffer.alloc(31), room: 256 };
    client.refused(DATA_LEN_RANGE, CMD.SIGN_ONESHOT, u32(session), short);
  });

  test('raw data must have the length that its padding leaves', () => {
    const cases = [
      [CKM.RSA_PKCS, 246],
      [CKM.RSA_X_509, 255],
      [CKM.RSA_X_509, 257],
    ] as const;
    for (const [id, bytes] of cases) {
      client.ok(CMD.SIGN_INIT, Buffer.concat([u32(session, privateKey), mechanism(id)]));
      const data = { input: Buffer.alloc(bytes, 1), room: 256 };
      client.refused(CKR.DATA_LEN_RANGE, CMD.SIGN_ONESHOT, u32(session), data);
    }
    const block = Buffer.concat([Buffer.alloc(1), Buffer.alloc(255, 7)]);
    const signature = client.sign(session, privateKey, mechanism(CKM.RSA_X_509), block);
    judgedByTa(keys, mechanism(CKM.RSA_X_509), block, signature);
    const larger = { data: block, signature: Buffer.alloc(256, 0xff) };
    const rv = client.verify(session, publicKey, mechanism(CKM.RSA_X_509), larger);
    assert.equal(rv, CKR.SIGNATURE_INVALID, 'a signature above the modulus');
  });

  test('a modulus that is not a whole number of bytes works with PSS over a digest', () => {
    const odd = rsaKeys(1025);
    const digest = createHash('sha256').update(MESSAGE).digest();
    const how = mechanism(CKM.RSA_PKCS_PSS, u32(CKM.SHA256, 2, 32));

    const signature = odd.client.sign(odd.session, odd.privateKey, how, digest);

    const key = { key: odd.judge, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    assert.equal(signature.byteLength, 129);
    assert.ok(verify('sha256', MESSAGE, key, signature));
    judgedByTa(odd, how, digest, signature);
  });

  test('short keys, which OpenSSL does not make, sign what fits them', () => {
    for (const [bits, size] of [
      [256, 32],
      [400, 50],
      [511, 64],
    ] as const) {
      const short = rsaKeys(bits);
      const signature = short.client.sign(
        short.session,
        short.privateKey,
        mechanism(CKM.RSA_PKCS),
        MESSAGE.subarray(0, 21),
      );
      assert.equal(signature.byteLength, size);
      judgedByTa(short, mechanism(CKM.RSA_PKCS), MESSAGE.subarray(0, 21), signature);
      const block = Buffer.concat([Buffer.alloc(1), Buffer.alloc(size - 1, 7)]);
      const raw = short.client.sign(
        short.session,
        short.privateKey,
        mechanism(CKM.RSA_X_509),
        block,
      );
      const key = { key: short.judge, padding: constants.RSA_NO_PADDING };
      assert.deepEqual(publicDecrypt(key, raw), block);
    }
  });
});

describe('Ed25519 (RFC 8032)', () => {
  const PLAIN = mechanism(CKM.EDDSA, u32(0, 0));

  test('plain, with the parameter and without', () => {
    const keys = edKeys();
    const { client, session, privateKey, judge } = keys;
    const signature = client.sign(session, privateKey, PLAIN, MESSAGE);

    assert.ok(verify(null, MESSAGE, judge, signature));
    assert.deepEqual(client.sign(session, privateKey, mechanism(CKM.EDDSA), MESSAGE), signature);
    judgedByTa(keys, PLAIN, MESSAGE, signature);
  });

  test('with a context and over a hash: neither passes for the other', () => {
    const keys = edKeys();
    const { client, session, privateKey, publicKey } = keys;
    const context = Buffer.from('context');
    const withContext = mechanism(CKM.EDDSA, Buffer.concat([u32(0, 7), context]));
    const prehashed = mechanism(CKM.EDDSA, Buffer.concat([u32(1, 7), context]));
    const signature = client.sign(session, privateKey, withContext, MESSAGE);

    judgedByTa(keys, withContext, MESSAGE, signature);
    for (const other of [PLAIN, prehashed]) {
      const rv = client.verify(session, publicKey, other, { data: MESSAGE, signature });
      assert.equal(rv, CKR.SIGNATURE_INVALID);
    }
    judgedByTa(keys, prehashed, MESSAGE, client.sign(session, privateKey, prehashed, MESSAGE));
    const long = mechanism(CKM.EDDSA, Buffer.concat([u32(0, 256), Buffer.alloc(256)]));
    const init = Buffer.concat([u32(session, privateKey), long]);
    client.refused(CKR.MECHANISM_PARAM_INVALID, CMD.SIGN_INIT, init);
  });
});

const PARTS = [MESSAGE.subarray(0, 5), Buffer.alloc(0), MESSAGE.subarray(5)];

function signInParts({ client, session, privateKey }: Keys, how: Buffer): Buffer {
  client.ok(CMD.SIGN_INIT, Buffer.concat([u32(session, privateKey), how]));
  for (const part of PARTS) client.ok(CMD.SIGN_UPDATE, u32(session), { input: part });
  return client.ok(CMD.SIGN_FINAL, u32(session), { room: 512 });
}

function verifyInParts({ client, session, publicKey }: Keys, how: Buffer, signature: Buffer): void {
  client.ok(CMD.VERIFY_INIT, Buffer.concat([u32(session, publicKey), how]));
  for (const part of PARTS) client.ok(CMD.VERIFY_UPDATE, u32(session), { input: part });
  client.ok(CMD.VERIFY_FINAL, u32(session), { signature });
  client.ok(CMD.VERIFY_INIT, Buffer.concat([u32(session, publicKey), how]));
  client.ok(CMD.VERIFY_UPDATE, u32(session), { input: OTHER_MESSAGE });
  client.refused(CKR.SIGNATURE_INVALID, CMD.VERIFY_FINAL, u32(session), { signature });
}
