import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, ED25519, P256, P384, P521, TestTee, u32, type TaClient } from './ta-client.ts';

const SECRET_PARTS = [
  CKA.VALUE,
  CKA.PRIVATE_EXPONENT,
  CKA.PRIME_1,
  CKA.PRIME_2,
  CKA.EXPONENT_1,
  CKA.EXPONENT_2,
  CKA.COEFFICIENT,
];
const EDWARDS_TYPE = [CKA.KEY_TYPE, CKK.EC_EDWARDS] as const;

function refusedPair(
  rv: number,
  { client, session }: { readonly client: TaClient; readonly session: number },
  mechanismId: number,
  ...[publicTemplate, privateTemplate = attributes()]: readonly [Buffer, Buffer?]
): void {
  const control = Buffer.concat([u32(session, mechanismId, 0), publicTemplate, privateTemplate]);
  client.refused(rv, CMD.GENERATE_KEY_PAIR, control, { room: 8 });
}

function rsa(bits: number): Buffer {
  return attributes([CKA.MODULUS_BITS, bits], [CKA.VERIFY, true]);
}

describe('generating pairs (PKCS#11 v2.40 §5.14)', () => {
  for (const [name, params, bytes] of [
    ['P-256', P256, 32],
    ['P-384', P384, 48],
    ['P-521', P521, 66],
  ] as const) {
    test(`a ${name} pair has a point in DER and a private value that stays`, () => {
      const { client, session } = new TestTee().connectUser();
      const { publicKey, privateKey } = client.generatePair(
        session,
        CKM.EC_KEY_PAIR_GEN,
        attributes([CKA.EC_PARAMS, params]),
        attributes([CKA.SENSITIVE, true]),
      );

      const point = client.attribute(session, publicKey, CKA.EC_POINT);
      assert.ok(point);
      assert.equal(point[0], 0x04);
      assert.equal(point.subarray(-(2 * bytes + 1))[0], 0x04, 'uncompressed');
      assert.deepEqual(client.attribute(session, privateKey, CKA.EC_PARAMS), params);
      assert.equal(client.attribute(session, privateKey, CKA.VALUE), undefined);
      assert.equal(client.attribute(session, privateKey, CKA.EC_POINT), undefined);
      assert.equal(client.attribute(session, privateKey, CKA.HIDDEN_EC_POINT), undefined);
      assert.deepEqual(client.attribute(session, privateKey, CKA.LOCAL), Buffer.of(1));
      const made = client.attribute(session, privateKey, CKA.KEY_GEN_MECHANISM);
      assert.deepEqual(made, u32(CKM.EC_KEY_PAIR_GEN));
    });
  }

  test('an EC private key is as large as a real one, with its hidden point', () => {
    const { client, session } = new TestTee().connectUser();
    const { privateKey } = client.generatePair(
      session,
      CKM.EC_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, P256]),
      attributes([CKA.SIGN, true]),
    );
    const size = client.ok(CMD.GET_OBJECT_SIZE, u32(session, privateKey), { room: 4 });
    assert.equal(size.readUInt32LE(), 0x182);
  });

  test('an Ed25519 pair needs the key type in both templates in strict mode, as with OP-TEE', () => {
    const user = TestTee.strict().connectUser();
    const { client, session } = user;
    const named = attributes([CKA.EC_PARAMS, ED25519], EDWARDS_TYPE);
    const { publicKey, privateKey } = client.generatePair(
      session,
      CKM.EC_EDWARDS_KEY_PAIR_GEN,
      named,
      attributes(EDWARDS_TYPE),
    );

    const point = client.attribute(session, publicKey, CKA.EC_POINT);
    assert.equal(point?.byteLength, 32);
    assert.deepEqual(client.attribute(session, privateKey, CKA.EC_POINT), point);
    const unnamed = attributes([CKA.EC_PARAMS, ED25519]);
    const { EC_EDWARDS_KEY_PAIR_GEN } = CKM;
    refusedPair(CKR.TEMPLATE_INCONSISTENT, user, EC_EDWARDS_KEY_PAIR_GEN, unnamed);
    refusedPair(CKR.TEMPLATE_INCONSISTENT, user, EC_EDWARDS_KEY_PAIR_GEN, named);
    const lenient = new TestTee().connectUser();
    lenient.client.generatePair(lenient.session, EC_EDWARDS_KEY_PAIR_GEN, unnamed, attributes());
  });

  test('curves go by the names OP-TEE knows; that of RFC 8410 is not one', () => {
    const user = new TestTee().connectUser();
    const rfc8410 = Buffer.from('06032b6570', 'hex');
    const edwards = attributes([CKA.EC_PARAMS, rfc8410], EDWARDS_TYPE);
    const { ATTRIBUTE_TYPE_INVALID, TEMPLATE_INCOMPLETE } = CKR;

    const ofType = attributes(EDWARDS_TYPE);
    refusedPair(ATTRIBUTE_TYPE_INVALID, user, CKM.EC_EDWARDS_KEY_PAIR_GEN, edwards, ofType);
    const secp256k1 = attributes([CKA.EC_PARAMS, Buffer.from('06052b8104000a', 'hex')]);
    refusedPair(ATTRIBUTE_TYPE_INVALID, user, CKM.EC_KEY_PAIR_GEN, secp256k1);
    refusedPair(TEMPLATE_INCOMPLETE, user, CKM.EC_KEY_PAIR_GEN, attributes());
    const oid = Buffer.from('06092b06010401da470f01', 'hex');
    user.client.generatePair(
      user.session,
      CKM.EC_EDWARDS_KEY_PAIR_GEN,
      attributes([CKA.EC_PARAMS, oid], EDWARDS_TYPE),
      attributes(EDWARDS_TYPE),
    );
  });

  test('curves go by their numbers, too: all of them, as OpenSSL spells them out', () => {
    const { client, session } = new TestTee().connectUser();
    for (const [curve, bytes] of [
      ['prime192v1', 24],
      ['secp224r1', 28],
      ['prime256v1', 32],
      ['secp384r1', 48],
      ['secp521r1', 66],
    ] as const) {
      const how = ['ecparam', '-name', curve, '-param_enc', 'explicit', '-outform', 'DER'];
      const params = execFileSync('openssl', how);
      const { publicKey, privateKey } = client.generatePair(
        session,
        CKM.EC_KEY_PAIR_GEN,
        attributes([CKA.EC_PARAMS, params]),
        attributes([CKA.EXTRACTABLE, true]),
      );
      assert.deepEqual(client.attribute(session, publicKey, CKA.EC_PARAMS), params);
      assert.equal(client.attribute(session, privateKey, CKA.VALUE)?.byteLength, bytes);
    }
  });

  test('a template may not choose what the TA makes', () => {
    const user = new TestTee().connectUser();
    const rsaPair = attributes([CKA.MODULUS_BITS, 512]);
    const { TEMPLATE_INCONSISTENT } = CKR;
    for (const id of [CKA.MODULUS, CKA.PUBLIC_EXPONENT, CKA.PRIME_1]) {
      const chosen = attributes([id, Buffer.of(3)]);
      refusedPair(TEMPLATE_INCONSISTENT, user, CKM.RSA_PKCS_KEY_PAIR_GEN, rsaPair, chosen);
    }
    const curve = attributes([CKA.EC_PARAMS, P256]);
    refusedPair(TEMPLATE_INCONSISTENT, user, CKM.EC_KEY_PAIR_GEN, curve, curve);
    assert.deepEqual(user.client.find(user.session, attributes()), []);
  });

  test('an RSA pair has the length and the exponent that were asked for', () => {
    const { client, session } = new TestTee().connectUser();
    const { publicKey, privateKey } = client.generatePair(
      session,
      CKM.RSA_PKCS_KEY_PAIR_GEN,
      attributes([CKA.MODULUS_BITS, 1024], [CKA.PUBLIC_EXPONENT, Buffer.of(3)]),
      attributes(),
    );

    const modulus = client.attribute(session, publicKey, CKA.MODULUS);
    assert.equal(modulus?.byteLength, 128);
    assert.deepEqual(client.attribute(session, publicKey, CKA.PUBLIC_EXPONENT), Buffer.of(3));
    assert.deepEqual(client.attribute(session, privateKey, CKA.MODULUS), modulus);
  });

  test('an RSA length that cannot be made is refused', () => {
    const user = new TestTee().connectUser();
    for (const bits of [0, 248, 4097, 0xffff_ffff]) {
      refusedPair(CKR.KEY_SIZE_RANGE, user, CKM.RSA_PKCS_KEY_PAIR_GEN, rsa(bits));
    }
    refusedPair(CKR.GENERAL_ERROR, user, CKM.RSA_PKCS_KEY_PAIR_GEN, rsa(255));
    refusedPair(CKR.TEMPLATE_INCOMPLETE, user, CKM.RSA_PKCS_KEY_PAIR_GEN, attributes());
    const even = attributes([CKA.MODULUS_BITS, 1024], [CKA.PUBLIC_EXPONENT, Buffer.of(4)]);
    refusedPair(CKR.ARGUMENTS_BAD, user, CKM.RSA_PKCS_KEY_PAIR_GEN, even);
  });

  test('templates for another kind of key than the mechanism makes are inconsistent', () => {
    const user = new TestTee().connectUser();
    const curve = [CKA.EC_PARAMS, P256] as const;
    const { TEMPLATE_INCONSISTENT } = CKR;

    const asRsa = attributes(curve, [CKA.KEY_TYPE, CKK.RSA]);
    refusedPair(TEMPLATE_INCONSISTENT, user, CKM.EC_KEY_PAIR_GEN, asRsa);
    const asPrivate = attributes(curve, [CKA.CLASS, CKO.PRIVATE_KEY]);
    refusedPair(TEMPLATE_INCONSISTENT, user, CKM.EC_KEY_PAIR_GEN, asPrivate);
    refusedPair(CKR.MECHANISM_INVALID, user, CKM.ECDSA, attributes(curve));
    refusedPair(CKR.MECHANISM_INVALID, user, 0x1234, attributes(curve));
    assert.deepEqual(user.client.find(user.session, attributes()), [], 'no half of a pair is left');
  });

  test('half a pair is not kept when the other half may not be made', () => {
    const user = new TestTee().connectUser();
    user.client.ok(CMD.LOGOUT, u32(user.session));
    const publicTemplate = attributes([CKA.EC_PARAMS, P256], [CKA.TOKEN, true]);
    const privateTemplate = attributes([CKA.PRIVATE, true], [CKA.TOKEN, true]);

    refusedPair(CKR.USER_NOT_LOGGED_IN, user, CKM.EC_KEY_PAIR_GEN, publicTemplate, privateTemplate);

    assert.deepEqual(user.client.find(user.session, attributes()), []);
  });
});

describe('secret parts (PKCS#11 v2.40 §4.9)', () => {
  const CASES: readonly (readonly [boolean, boolean, boolean])[] = [
    [false, true, true],
    [true, true, false],
    [false, false, false],
    [true, false, false],
  ];
  for (const [sensitive, extractable, readable] of CASES) {
    const kind = `${sensitive ? '' : 'not '}sensitive and ${extractable ? '' : 'not '}extractable`;
    test(`a key that is ${kind} is ${readable ? '' : 'not '}read`, () => {
      const { client, session } = new TestTee().connectUser();
      const { privateKey } = client.generatePair(
        session,
        CKM.RSA_PKCS_KEY_PAIR_GEN,
        rsa(1024),
        attributes([CKA.SENSITIVE, sensitive], [CKA.EXTRACTABLE, extractable]),
      );
      const parts = SECRET_PARTS.slice(1).map((id) => client.attribute(session, privateKey, id));

      for (const part of parts) assert.equal(part !== undefined, readable);
      const history = [CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE].map((id) =>
        client.attribute(session, privateKey, id),
      );
      assert.deepEqual(history, [Buffer.of(sensitive ? 1 : 0), Buffer.of(extractable ? 0 : 1)]);
      const asked = Buffer.concat([u32(session, privateKey), attributes([CKA.PRIME_1, ''])]);
      const { rv } = client.call(CMD.GET_ATTRIBUTE_VALUE, asked, { room: 16 });
      assert.equal(rv, readable ? CKR.OK : CKR.ATTRIBUTE_SENSITIVE, 'not even the length is told');
    });
  }

  test('an imported key was not always safe, whatever it is now', () => {
    const { client, session } = new TestTee().connectUser();
    const key = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.PRIVATE_KEY],
        [CKA.KEY_TYPE, CKK.EC],
        [CKA.EC_PARAMS, P256],
        [CKA.VALUE, Buffer.alloc(32, 1)],
        [CKA.SENSITIVE, true],
      ),
    );

    for (const id of [CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL]) {
      assert.deepEqual(client.attribute(session, key, id), Buffer.of(0));
    }
    assert.equal(client.attribute(session, key, CKA.VALUE), undefined);
  });
});
