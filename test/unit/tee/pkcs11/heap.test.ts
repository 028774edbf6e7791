/** What clients may make the TA keep, and that they get it back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKM } from '../../../tee/secure-world/pkcs11/abi-mechanisms.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, mechanism, TestTee, u32, type TaClient } from './ta-client.ts';

const MEBIBYTE = 1024 * 1024;
const PER_CLIENT = 32;
const OF_ALL = 128;
const PER_TOKEN = 16;

function data(mebibytes: number, onToken = false): Buffer {
  return attributes(
    [CKA.CLASS, CKO.DATA],
    [CKA.TOKEN, onToken],
    [CKA.LABEL, Buffer.alloc(mebibytes * MEBIBYTE)],
  );
}

/** @returns what was made before it was refused for want of memory */
function fill(client: TaClient, session: number, template: Buffer): readonly number[] {
  const made: number[] = [];
  for (;;) {
    const control = Buffer.concat([u32(session), template]);
    const { rv, output } = client.call(CMD.CREATE_OBJECT, control, { room: 4 });
    if (rv !== CKR.OK) {
      assert.equal(rv, CKR.DEVICE_MEMORY);
      return made;
    }
    made.push(output.readUInt32LE());
  }
}

test('a client’s session objects have an end, and what it destroys it has again', () => {
  const client = new TestTee().connect();
  const session = client.openSession();
  const made = fill(client, session, data(1));
  assert.equal(made.length, PER_CLIENT - 1, 'the rest is what is around them');

  client.ok(CMD.DESTROY_OBJECT, u32(session, made[0] ?? 0));

  assert.equal(fill(client, session, data(1)).length, 1);
  client.ok(CMD.CLOSE_SESSION, u32(session));
  const again = client.openSession();
  assert.equal(fill(client, again, data(1)).length, PER_CLIENT - 1);
});

test('all clients together have an end, and whoever goes leaves room', () => {
  const tee = new TestTee();
  const crowd = Array.from({ length: 5 }, () => {
    const client = tee.connect();
    const session = client.openSession();
    return { client, session, made: fill(client, session, data(1)).length };
  });
  const total = crowd.reduce((sum, { made }) => sum + made, 0);
  assert.ok(total > OF_ALL - 5 && total < OF_ALL, String(total));

  crowd[0]?.client.close();

  const last = crowd[4];
  assert.ok(last !== undefined);
  assert.ok(fill(last.client, last.session, data(1)).length > PER_CLIENT - 10);
});

test('an object that is refused to grow is as it was, and one that shrinks gives back', () => {
  const client = new TestTee().connect();
  const session = client.openSession();
  const large = client.create(session, data(10));
  const small = client.create(session, data(1));
  const change = (object: number, mebibytes: number): Buffer =>
    Buffer.concat([
      u32(session, object),
      attributes([CKA.LABEL, Buffer.alloc(mebibytes * MEBIBYTE)]),
    ]);
  client.ok(CMD.SET_ATTRIBUTE_VALUE, change(small, 14));

  // While it changes there are both the old value and the new one.
  client.refused(CKR.DEVICE_MEMORY, CMD.SET_ATTRIBUTE_VALUE, change(small, 15));
  const size = client.ok(CMD.GET_OBJECT_SIZE, u32(session, small), { room: 4 }).readUInt32LE();
  assert.equal(Math.floor(size / MEBIBYTE), 14);

  client.ok(CMD.SET_ATTRIBUTE_VALUE, change(large, 0));

  client.ok(CMD.SET_ATTRIBUTE_VALUE, change(small, 15));
});

test('ciphertext that waits for its tag counts, until its operation ends in whatever way', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const key = client.create(
    session,
    attributes(
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.VALUE, Buffer.alloc(16)],
      [CKA.DECRYPT, true],
    ),
  );
  const parameter = Buffer.concat([u32(12), Buffer.alloc(12), u32(0, 128)]);
  const part = { input: Buffer.alloc(15 * MEBIBYTE), room: 0 };
  const start = (of: number): void => {
    client.ok(CMD.DECRYPT_INIT, Buffer.concat([u32(of, key), mechanism(CKM.AES_GCM, parameter)]));
  };
  const [first, second, third] = [client.openSession(), client.openSession(), client.openSession()];
  for (const each of [first, second, third]) start(each);
  client.ok(CMD.DECRYPT_UPDATE, u32(first), part);
  client.ok(CMD.DECRYPT_UPDATE, u32(second), part);
  client.refused(CKR.DEVICE_MEMORY, CMD.DECRYPT_UPDATE, u32(third), part);

  client.ok(CMD.RELEASE_ACTIVE_PROCESSING, u32(first, CMD.DECRYPT_FINAL));
  start(third);
  client.ok(CMD.DECRYPT_UPDATE, u32(third), part);
  client.refused(CKR.SIGNATURE_INVALID, CMD.DECRYPT_FINAL, u32(second), { room: 15 * MEBIBYTE });
  start(first);
  client.ok(CMD.DECRYPT_UPDATE, u32(first), part);
  client.ok(CMD.CLOSE_SESSION, u32(third));
  start(second);
  client.ok(CMD.DECRYPT_UPDATE, u32(second), part);
  assert.deepEqual(tee.panics, []);
});

test('a token holds so much and no more, and is as it was when it refuses', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const made = fill(client, session, data(1, true));
  assert.equal(made.length, PER_TOKEN - 1);
  const grown = Buffer.concat([
    u32(session, made[0] ?? 0),
    attributes([CKA.LABEL, Buffer.alloc(3 * MEBIBYTE)]),
  ]);
  client.refused(CKR.DEVICE_MEMORY, CMD.SET_ATTRIBUTE_VALUE, grown);
  tee.restart();
  const later = tee.connect();
  const found = later.find(later.openSession(), attributes([CKA.CLASS, CKO.DATA]));
  assert.equal(found.length, PER_TOKEN - 1);
});

test('sessions count as well', () => {
  const tee = new TestTee();
  const client = tee.connect();
  const session = client.openSession();
  fill(client, session, data(1));
  fill(client, session, data(0));

  const more = Array.from({ length: 3 }, () =>
    client.call(CMD.OPEN_SESSION, u32(0, 6), { room: 4 }),
  );

  assert.equal(more.at(-1)?.rv, CKR.DEVICE_MEMORY);
  tee.connect().openSession();
});
