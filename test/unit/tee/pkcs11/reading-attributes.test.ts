import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, TestTee, u32, type TemplateValue } from './ta-client.ts';

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

describe('reading attributes (PKCS#11 v2.40 §5.7)', () => {
  test('fills a template in place: values, sizes, and what cannot be had', () => {
    const { client, session } = new TestTee().connectUser();
    const key = client.create(session, attributes(...SECRET, [CKA.LABEL, 'abc']));
    const room = (bytes: number): Buffer => Buffer.alloc(bytes, 0xee);
    const asked = attributes(
      [CKA.LABEL, room(5)],
      [CKA.ID, room(2)],
      [CKA.LABEL, room(0)],
      [CKA.VALUE, room(3)],
      [CKA.MODULUS, room(1)],
    );
    const control = Buffer.concat([u32(session, key), asked]);

    const { rv, output } = client.call(CMD.GET_ATTRIBUTE_VALUE, control, {
      room: asked.byteLength,
    });

    assert.equal(rv, CKR.ATTRIBUTE_TYPE_INVALID, 'the last of those that apply');
    const expected = Buffer.from(asked);
    expected.writeUInt32LE(3, 12);
    expected.write('abc', 16);
    expected.writeUInt32LE(0, 25);
    expected.writeUInt32LE(3, 35);
    expected.writeUInt32LE(0xffff_ffff, 43);
    expected.writeUInt32LE(0xffff_ffff, 54);
    assert.deepEqual(output, expected);
  });

  test('too little room is said per attribute, and outranks the rest', () => {
    const { client, session } = new TestTee().connectUser();
    const key = client.create(session, attributes(...SECRET, [CKA.LABEL, 'abc']));
    const asked = attributes([CKA.LABEL, 'x'], [CKA.MODULUS, ''], [CKA.VALUE, '']);
    const control = Buffer.concat([u32(session, key), asked]);

    const reply = client.call(CMD.GET_ATTRIBUTE_VALUE, control, { room: asked.byteLength });

    assert.equal(reply.rv, CKR.BUFFER_TOO_SMALL);
    assert.equal(reply.output.readUInt32LE(12), 0xffff_ffff);
  });

  test('the room must be that of the template', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes(...DATA));
    const control = Buffer.concat([u32(session, object), attributes([CKA.LABEL, ''])]);
    for (const room of [15, 17]) {
      client.refused(CKR.ARGUMENTS_BAD, CMD.GET_ATTRIBUTE_VALUE, control, { room });
    }
  });

  test('the size of an object is that of its attributes', () => {
    const { client, session } = new TestTee().connectUser();
    const object = client.create(session, attributes([CKA.CLASS, 0], [CKA.LABEL, 'A data object']));
    // As a real TA answers for the same object.
    const size = client.ok(CMD.GET_OBJECT_SIZE, u32(session, object), { room: 4 });
    assert.equal(size.readUInt32LE(), 119);
  });
});
