import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, pinArguments, SO_PIN, TestTee, u32, type TemplateValue } from './ta-client.ts';

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

function changing(
  session: number,
  object: number,
  ...template: readonly (readonly [number, TemplateValue])[]
): Buffer {
  return Buffer.concat([u32(session, object), attributes(...template)]);
}

describe('changing objects (PKCS#11 v2.40 §4.1.1)', () => {
  test('a label may change; class, value and whatever is fixed may not', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes(...DATA));

    client.ok(CMD.SET_ATTRIBUTE_VALUE, changing(session, object, [CKA.LABEL, 'new']));

    assert.deepEqual(client.attribute(session, object, CKA.LABEL), Buffer.from('new'));
    const fixed: Template = [
      [CKA.CLASS, CKO.DATA],
      [CKA.VALUE, 'v'],
      [CKA.TOKEN, true],
      [CKA.PRIVATE, true],
      [CKA.MODIFIABLE, false],
    ];
    for (const entry of fixed) {
      const control = changing(session, object, [CKA.LABEL, 'newer'], entry);
      client.refused(CKR.ATTRIBUTE_READ_ONLY, CMD.SET_ATTRIBUTE_VALUE, control);
    }
    assert.deepEqual(client.attribute(session, object, CKA.LABEL), Buffer.from('new'));
  });

  test('a key may become harder to read, never easier', () => {
    const { client, session } = new TestTee().connectUser();
    const open = attributes(...SECRET, [CKA.EXTRACTABLE, true]);
    const key = client.create(session, open);
    assert.ok(client.attribute(session, key, CKA.VALUE));

    client.ok(CMD.SET_ATTRIBUTE_VALUE, changing(session, key, [CKA.SENSITIVE, true]));
    client.ok(CMD.SET_ATTRIBUTE_VALUE, changing(session, key, [CKA.EXTRACTABLE, false]));

    assert.equal(client.attribute(session, key, CKA.VALUE), undefined);
    const easier: Template = [
      [CKA.SENSITIVE, false],
      [CKA.EXTRACTABLE, true],
    ];
    for (const entry of easier) {
      const control = changing(session, key, entry);
      client.refused(CKR.ATTRIBUTE_READ_ONLY, CMD.SET_ATTRIBUTE_VALUE, control);
    }
    const copy = changing(session, key, [CKA.SENSITIVE, false]);
    client.refused(CKR.ATTRIBUTE_READ_ONLY, CMD.COPY_OBJECT, copy, { room: 4 });
    assert.equal(client.attribute(session, key, CKA.VALUE), undefined);
  });

  test('an object may forbid to be changed, copied or destroyed', () => {
    const { client, session } = new TestTee().connectUser();
    const label: Template = [[CKA.LABEL, 'new']];
    const forbidding = (id: number): number =>
      client.create(session, attributes(...DATA, [id, false]));
    const { ACTION_PROHIBITED } = CKR;

    const fixed = changing(session, forbidding(CKA.MODIFIABLE), ...label);
    client.refused(ACTION_PROHIBITED, CMD.SET_ATTRIBUTE_VALUE, fixed);
    const unique = changing(session, forbidding(CKA.COPYABLE), ...label);
    client.refused(ACTION_PROHIBITED, CMD.COPY_OBJECT, unique, { room: 4 });
    const kept = forbidding(CKA.DESTROYABLE);
    client.refused(ACTION_PROHIBITED, CMD.DESTROY_OBJECT, u32(session, kept));
    assert.ok(client.attribute(session, kept, CKA.LABEL));
  });

  test('a copy has what the template says, else what the original has', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes(...DATA, [CKA.APPLICATION, 'app']));
    const control = changing(session, object, [CKA.LABEL, 'copy'], [CKA.TOKEN, true]);

    const copy = client.ok(CMD.COPY_OBJECT, control, { room: 4 }).readUInt32LE();

    assert.notEqual(copy, object);
    assert.deepEqual(client.attribute(session, copy, CKA.LABEL), Buffer.from('copy'));
    assert.deepEqual(client.attribute(session, copy, CKA.APPLICATION), Buffer.from('app'));
    assert.deepEqual(client.attribute(session, copy, CKA.TOKEN), Buffer.of(1));
    assert.deepEqual(client.attribute(session, object, CKA.LABEL), Buffer.from('data'));
  });

  test('a check value may be dropped, or named if it is right', () => {
    const { client, session } = new TestTee().connectUser();
    const key = client.create(session, attributes(...SECRET));
    const checkValue = client.attribute(session, key, CKA.CHECK_VALUE) ?? Buffer.alloc(0);
    const copyWith = (value: Buffer): Buffer => changing(session, key, [CKA.CHECK_VALUE, value]);
    const { ATTRIBUTE_VALUE_INVALID } = CKR;

    const wrong = copyWith(Buffer.from('baaaad', 'hex'));
    client.refused(ATTRIBUTE_VALUE_INVALID, CMD.COPY_OBJECT, wrong, { room: 4 });
    client.ok(CMD.COPY_OBJECT, copyWith(checkValue), { room: 4 });
    const silent = client.ok(CMD.COPY_OBJECT, copyWith(Buffer.alloc(0)), { room: 4 });
    const copy = silent.readUInt32LE();
    assert.deepEqual(client.attribute(session, copy, CKA.CHECK_VALUE), Buffer.alloc(0));
    client.refused(ATTRIBUTE_VALUE_INVALID, CMD.SET_ATTRIBUTE_VALUE, wrong);
    client.ok(CMD.SET_ATTRIBUTE_VALUE, copyWith(checkValue));
    client.ok(CMD.SET_ATTRIBUTE_VALUE, copyWith(Buffer.alloc(0)));
    assert.deepEqual(client.attribute(session, key, CKA.CHECK_VALUE), Buffer.alloc(0));
  });

  test('an attribute that the object has not cannot be changed, and that is said', () => {
    const { client, session } = new TestTee().connectUser();
    const key = client.create(session, attributes(...SECRET));
    const control = changing(session, key, [CKA.APPLICATION, 'app']);
    client.refused(CKR.ATTRIBUTE_TYPE_INVALID, CMD.SET_ATTRIBUTE_VALUE, control);
    client.refused(CKR.ATTRIBUTE_TYPE_INVALID, CMD.COPY_OBJECT, control, { room: 4 });
  });

  test('a copy of a private object is private', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes(...DATA, [CKA.PRIVATE, true]));
    const control = changing(session, object, [CKA.PRIVATE, false]);
    client.refused(CKR.TEMPLATE_INCONSISTENT, CMD.COPY_OBJECT, control, { room: 4 });
  });

  test('trust is the SO’s to give and to take', () => {
    const { client, session } = new TestTee().connectUser();
    const certificate = client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.CERTIFICATE],
        [CKA.CERTIFICATE_TYPE, 0],
        [CKA.SUBJECT, 'subject'],
        [CKA.TOKEN, true],
      ),
    );
    const trust = changing(session, certificate, [CKA.TRUSTED, true]);

    client.refused(CKR.ATTRIBUTE_READ_ONLY, CMD.SET_ATTRIBUTE_VALUE, trust);
    client.ok(CMD.LOGOUT, u32(session));
    client.ok(CMD.LOGIN, pinArguments(session, 0, SO_PIN));
    client.ok(CMD.SET_ATTRIBUTE_VALUE, trust);
    assert.deepEqual(client.attribute(session, certificate, CKA.TRUSTED), Buffer.of(1));
    const data = client.create(session, attributes(...DATA));
    const none = changing(session, data, [CKA.TRUSTED, true]);
    client.refused(CKR.ATTRIBUTE_TYPE_INVALID, CMD.SET_ATTRIBUTE_VALUE, none);
  });

  test('what an object may be copied to can be given up, not taken back', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes(...DATA));

    client.ok(CMD.SET_ATTRIBUTE_VALUE, changing(session, object, [CKA.COPYABLE, false]));

    const back = changing(session, object, [CKA.COPYABLE, true]);
    client.refused(CKR.ATTRIBUTE_READ_ONLY, CMD.SET_ATTRIBUTE_VALUE, back);
  });

  test('a client cannot fill the TA with objects without end', () => {
    const { client, session } = new TestTee().connectUser();
    for (let count = 0; count < 4096; count += 1) client.create(session, attributes(...DATA));

    const control = Buffer.concat([u32(session), attributes(...DATA)]);
    client.refused(CKR.DEVICE_MEMORY, CMD.CREATE_OBJECT, control, { room: 4 });
    client.ok(CMD.DESTROY_OBJECT, u32(session, 7));
    assert.equal(client.create(session, attributes(...DATA)), 7);
  });
});
