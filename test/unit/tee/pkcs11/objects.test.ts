import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import {
  attributes,
  P256,
  pinArguments,
  SO_PIN,
  TestTee,
  u32,
  USER_PIN,
  type TaClient,
  type TemplateValue,
} from './ta-client.ts';

type Template = readonly (readonly [number, TemplateValue])[];

const DATA: Template = [
  [CKA.CLASS, CKO.DATA],
  [CKA.LABEL, 'data'],
];
const SECRET: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.VALUE, Buffer.from('0102030405060708090a010203040506', 'hex')],
];
const CERTIFICATE: Template = [
  [CKA.CLASS, CKO.CERTIFICATE],
  [CKA.CERTIFICATE_TYPE, 0],
  [CKA.SUBJECT, 'Test1'],
  [CKA.VALUE, 'Test2'],
];

function refusedCreate(rv: number, session: number, client: TaClient, template: Template): void {
  const control = Buffer.concat([u32(session), attributes(...template)]);
  client.refused(rv, CMD.CREATE_OBJECT, control, { room: 4 });
}

describe('creating objects (PKCS#11 v2.40 §5.7)', () => {
  test('what the template does not say has its default', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes([CKA.CLASS, CKO.DATA]));
    const yes = [CKA.MODIFIABLE, CKA.COPYABLE, CKA.DESTROYABLE];
    const no = [CKA.TOKEN, CKA.PRIVATE];

    for (const id of yes) assert.deepEqual(client.attribute(session, object, id), Buffer.of(1));
    for (const id of no) assert.deepEqual(client.attribute(session, object, id), Buffer.of(0));
    assert.deepEqual(client.attribute(session, object, CKA.LABEL), Buffer.alloc(0));
    assert.equal(client.attribute(session, object, CKA.SIGN), undefined);
  });

  test('a key that nobody gave a use has none, and is neither private nor extractable', () => {
    const { client, session } = new TestTee().connectUser();
    const key = client.create(session, attributes(...SECRET));
    const all = [CKA.SIGN, CKA.VERIFY, CKA.ENCRYPT, CKA.DECRYPT, CKA.WRAP, CKA.UNWRAP, CKA.DERIVE];

    for (const id of [...all, CKA.PRIVATE, CKA.SENSITIVE, CKA.EXTRACTABLE]) {
      assert.deepEqual(client.attribute(session, key, id), Buffer.of(0), `attribute ${String(id)}`);
    }
    assert.deepEqual(client.attribute(session, key, CKA.VALUE_LEN), u32(16));
    assert.deepEqual(client.attribute(session, key, CKA.LOCAL), Buffer.of(0));
  });

  test('attributes that the class does not have are dropped', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes(...DATA, [CKA.SIGN, true]));
    assert.equal(client.attribute(session, object, CKA.SIGN), undefined);
  });

  test('a template that contradicts itself or names what is not known is inconsistent', () => {
    const { client, session } = new TestTee().connectUser();
    const refused: readonly Template[] = [
      [...DATA, [0x8000_1234, u32(0)]],
      [...DATA, [CKA.CLASS, CKO.SECRET_KEY]],
      [[CKA.CLASS, 9]],
      [[CKA.LABEL, 'no class']],
      [...SECRET, [CKA.KEY_TYPE, CKK.AES]],
      [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.RSA],
        [CKA.VALUE, 'v'],
      ],
      [...SECRET, [CKA.LOCAL, true]],
      [...SECRET, [CKA.KEY_GEN_MECHANISM, 0]],
      [...SECRET, [CKA.VALUE_LEN, 16]],
      SECRET.filter(([id]) => id !== CKA.VALUE),
      SECRET.filter(([id]) => id !== CKA.KEY_TYPE),
      [...SECRET, [CKA.START_DATE, '2026010']],
    ];

    for (const template of refused) {
      refusedCreate(CKR.TEMPLATE_INCONSISTENT, session, client, template);
    }
    assert.equal(client.create(session, attributes(...DATA, [CKA.LABEL, 'data'])), 1);
  });

  test('of two values the first counts, unless it is a class, a type or a boolean', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes(...DATA, [CKA.LABEL, 'other']));
    assert.deepEqual(client.attribute(session, object, CKA.LABEL), Buffer.from('data'));
    const booleans: Template = [...DATA, [CKA.TOKEN, true], [CKA.TOKEN, false]];
    refusedCreate(CKR.TEMPLATE_INCONSISTENT, session, client, booleans);
  });

  test('a boolean of more than a byte is a failed function, as with OP-TEE', () => {
    const { client, session } = new TestTee().connectUser();
    for (const value of [u32(1), Buffer.alloc(0)]) {
      refusedCreate(CKR.FUNCTION_FAILED, session, client, [...DATA, [CKA.TOKEN, value]]);
    }
    assert.deepEqual(client.find(session, attributes()), []);
  });

  test('a date has four bytes in strict mode, as with OP-TEE; else as PKCS#11 has it', () => {
    const date = '20260101';
    for (const [tee, taken, refused] of [
      [TestTee.strict(), ['2026'], [date, '']],
      [new TestTee(), ['2026', date, ''], ['202601']],
    ] as const) {
      const { client, session } = tee.connectUser();
      for (const value of taken) {
        const key = client.create(session, attributes(...SECRET, [CKA.START_DATE, value]));
        assert.deepEqual(client.attribute(session, key, CKA.START_DATE), Buffer.from(value));
      }
      for (const value of refused) {
        const template: Template = [...SECRET, [CKA.END_DATE, value]];
        refusedCreate(CKR.TEMPLATE_INCONSISTENT, session, client, template);
      }
    }
  });

  test('an imported RSA public key says how long its modulus is', () => {
    const { client, session } = new TestTee().connectUser();
    const rsa: Template = [
      [CKA.CLASS, CKO.PUBLIC_KEY],
      [CKA.KEY_TYPE, CKK.RSA],
      [CKA.MODULUS, Buffer.alloc(64, 0xff)],
      [CKA.PUBLIC_EXPONENT, Buffer.of(3)],
    ];
    const key = client.create(session, attributes(...rsa));
    assert.deepEqual(client.attribute(session, key, CKA.MODULUS_BITS), u32(512));
    const short = rsa.filter(([id]) => id !== CKA.PUBLIC_EXPONENT);
    refusedCreate(CKR.TEMPLATE_INCOMPLETE, session, client, short);
  });

  test('a certificate without a value: refused or fatal in strict mode, else as PKCS#11 has it', () => {
    const bare = CERTIFICATE.filter(([id]) => id !== CKA.VALUE);
    const strict = TestTee.strict();
    const { client, session } = strict.connectUser();
    refusedCreate(CKR.NOT_FOUND, session, client, bare);
    const control = Buffer.concat([u32(session), attributes(...bare, [CKA.VALUE, ''])]);
    assert.equal(client.call(CMD.CREATE_OBJECT, control, { room: 4 }).result, 0xffff_3024);
    assert.equal(strict.panics.length, 1);

    const lenient = new TestTee().connectUser();
    lenient.client.create(lenient.session, attributes(...bare));
    lenient.client.create(lenient.session, attributes(...bare, [CKA.VALUE, '']));
  });

  test('a template without what the class must have is incomplete', () => {
    const { client, session } = new TestTee().connectUser();
    const refused: readonly Template[] = [
      CERTIFICATE.filter(([id]) => id !== CKA.SUBJECT),
      CERTIFICATE.filter(([id]) => id !== CKA.CERTIFICATE_TYPE),
      [
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.KEY_TYPE, CKK.EC],
      ],
    ];

    for (const template of refused) {
      refusedCreate(CKR.TEMPLATE_INCOMPLETE, session, client, template);
    }
  });

  test('an EC private key that is imported must be one: its point is computed, and kept from view', () => {
    const { client, session } = new TestTee().connectUser();
    const kind: Template = [
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [CKA.KEY_TYPE, CKK.EC],
    ];
    const curve = [CKA.EC_PARAMS, P256] as const;
    const k256 = [CKA.EC_PARAMS, Buffer.from('06052b8104000a', 'hex')] as const;
    const value = [CKA.VALUE, Buffer.alloc(32, 1)] as const;
    const { ATTRIBUTE_TYPE_INVALID, CURVE_NOT_SUPPORTED } = CKR;

    for (const [rv, ...rest] of [
      [ATTRIBUTE_TYPE_INVALID, value],
      [ATTRIBUTE_TYPE_INVALID, curve],
      [ATTRIBUTE_TYPE_INVALID, curve, [CKA.VALUE, Buffer.alloc(32)]],
      [ATTRIBUTE_TYPE_INVALID, curve, [CKA.VALUE, Buffer.alloc(32, 0xff)]],
      [ATTRIBUTE_TYPE_INVALID, curve, [CKA.VALUE, Buffer.alloc(33, 1)]],
      [CURVE_NOT_SUPPORTED, k256, value],
    ] as const) {
      refusedCreate(rv, session, client, [...kind, ...rest]);
    }
    const key = client.create(session, attributes(...kind, curve, value));
    const size = client.ok(CMD.GET_OBJECT_SIZE, u32(session, key), { room: 4 });
    assert.equal(size.readUInt32LE(), 0x182, 'with a point of 67 bytes');
    assert.equal(client.attribute(session, key, CKA.HIDDEN_EC_POINT), undefined);
  });

  test('a certificate is of a category that exists', () => {
    const { client, session } = new TestTee().connectUser();
    for (const category of [0, 3]) {
      client.create(session, attributes(...CERTIFICATE, [CKA.CERTIFICATE_CATEGORY, category]));
    }
    refusedCreate(CKR.ATTRIBUTE_VALUE_INVALID, session, client, [
      ...CERTIFICATE,
      [CKA.CERTIFICATE_CATEGORY, 4],
    ]);
  });

  test('templates inside templates have a bottom', () => {
    const { client, session } = new TestTee().connectUser();
    let inner = attributes([CKA.LABEL, 'x']);
    for (let depth = 0; depth < 4; depth += 1) inner = attributes([CKA.WRAP_TEMPLATE, inner]);
    client.create(session, attributes(...SECRET, [CKA.WRAP_TEMPLATE, inner]));

    for (let depth = 0; depth < 4; depth += 1) inner = attributes([CKA.WRAP_TEMPLATE, inner]);

    refusedCreate(CKR.TEMPLATE_INCONSISTENT, session, client, [
      ...SECRET,
      [CKA.WRAP_TEMPLATE, inner],
    ]);
  });

  test('the number of attributes, their size and their bytes must agree', () => {
    const { client, session } = new TestTee().connectUser();
    const body = attributes(...DATA).subarray(8);
    for (const head of [u32(body.byteLength, 3), u32(body.byteLength - 1, 2), u32(9999, 2)]) {
      const control = Buffer.concat([u32(session), head, body]);
      client.refused(CKR.ARGUMENTS_BAD, CMD.CREATE_OBJECT, control, { room: 4 });
    }
  });

  test('a check value is computed, compared, or left out on request (§4.6.2, §4.10.2)', () => {
    const { client, session } = new TestTee().connectUser();
    const aes = SECRET.map(([id, value]) => [id, id === CKA.KEY_TYPE ? CKK.AES : value] as const);
    const cases: readonly (readonly [Template, string])[] = [
      [SECRET, '5c3b7c'],
      [aes, '08bd28'],
      [CERTIFICATE, '2b84f6'],
    ];

    for (const [template, checkValue] of cases) {
      const given = Buffer.from(checkValue, 'hex');
      for (const way of [template, [...template, [CKA.CHECK_VALUE, given] as const]]) {
        const object = client.create(session, attributes(...way));
        assert.deepEqual(client.attribute(session, object, CKA.CHECK_VALUE), given);
      }
      refusedCreate(CKR.ATTRIBUTE_VALUE_INVALID, session, client, [
        ...template,
        [CKA.CHECK_VALUE, '000'],
      ]);
      const none = client.create(session, attributes(...template, [CKA.CHECK_VALUE, '']));
      assert.deepEqual(client.attribute(session, none, CKA.CHECK_VALUE), Buffer.alloc(0));
    }
  });
});

describe('who may create what (PKCS#11 v2.40 §4.4)', () => {
  const create = (client: TaClient, session: number, token: boolean, secret: boolean) => {
    const template = attributes(...DATA, [CKA.TOKEN, token], [CKA.PRIVATE, secret]);
    const control = Buffer.concat([u32(session), template]);
    return client.call(CMD.CREATE_OBJECT, control, { room: 4 }).rv;
  };

  test('token objects need a read-write session, private ones the user', () => {
    const client = new TestTee().connect();
    client.prepareToken();
    const all = (session: number) => [
      create(client, session, false, false),
      create(client, session, false, true),
      create(client, session, true, false),
      create(client, session, true, true),
    ];
    const { OK, USER_NOT_LOGGED_IN, SESSION_READ_ONLY } = CKR;

    const readWrite = client.openSession();
    assert.deepEqual(all(readWrite), [OK, USER_NOT_LOGGED_IN, OK, USER_NOT_LOGGED_IN]);
    client.ok(CMD.LOGIN, pinArguments(readWrite, 0, SO_PIN));
    assert.deepEqual(all(readWrite), [OK, USER_NOT_LOGGED_IN, OK, USER_NOT_LOGGED_IN]);
    client.ok(CMD.LOGOUT, u32(readWrite));
    const readOnly = client.openSession(0, 'read-only');
    assert.deepEqual(all(readOnly), [OK, USER_NOT_LOGGED_IN, SESSION_READ_ONLY, SESSION_READ_ONLY]);
    client.ok(CMD.LOGIN, pinArguments(readWrite, 1, USER_PIN));
    assert.deepEqual(all(readOnly), [OK, OK, SESSION_READ_ONLY, SESSION_READ_ONLY]);
    assert.deepEqual(all(readWrite), [OK, OK, OK, OK]);
  });

  test('only the SO trusts', () => {
    const { client, session } = new TestTee().connectUser();
    const trusted: Template = [...CERTIFICATE, [CKA.TRUSTED, true]];

    refusedCreate(CKR.KEY_FUNCTION_NOT_PERMITTED, session, client, trusted);
    client.ok(CMD.LOGOUT, u32(session));
    client.ok(CMD.LOGIN, pinArguments(session, 0, SO_PIN));
    const object = client.create(session, attributes(...trusted));
    assert.deepEqual(client.attribute(session, object, CKA.TRUSTED), Buffer.of(1));
  });
});
