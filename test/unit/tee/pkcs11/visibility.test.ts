/** Handles, private objects and searches: what one client, or one login, sees of another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKK, CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { attributes, pinArguments, TestTee, u32, USER_PIN } from './ta-client.ts';

const DATA = [CKA.CLASS, CKO.DATA] as const;
const ON_TOKEN = [CKA.TOKEN, true] as const;
const PRIVATE = [CKA.PRIVATE, true] as const;
const EVERYTHING = attributes();

test('a private object does not exist for who is not the user', () => {
  const { client, session } = new TestTee().connectUser();
  const object = client.create(session, attributes(DATA, ON_TOKEN, PRIVATE));
  assert.deepEqual(client.find(session, EVERYTHING), [object]);

  client.ok(CMD.LOGOUT, u32(session));

  assert.deepEqual(client.find(session, EVERYTHING), []);
  const control = Buffer.concat([u32(session, object), attributes([CKA.LABEL, ''])]);
  client.refused(CKR.OBJECT_HANDLE_INVALID, CMD.GET_ATTRIBUTE_VALUE, control, { room: 16 });
  client.refused(CKR.OBJECT_HANDLE_INVALID, CMD.GET_OBJECT_SIZE, u32(session, object), { room: 4 });
  client.refused(CKR.OBJECT_HANDLE_INVALID, CMD.DESTROY_OBJECT, u32(session, object));
  client.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));
  assert.equal(client.find(session, EVERYTHING).length, 1, 'it is still there for the user');
});

test('logging out destroys private session objects and no others', () => {
  const { client, session } = new TestTee().connectUser();
  const open = client.create(session, attributes(DATA));
  const secret = client.create(session, attributes(DATA, PRIVATE));

  client.ok(CMD.LOGOUT, u32(session));
  client.ok(CMD.LOGIN, pinArguments(session, 1, USER_PIN));

  assert.deepEqual(client.find(session, EVERYTHING), [open]);
  client.refused(CKR.OBJECT_HANDLE_INVALID, CMD.DESTROY_OBJECT, u32(session, secret));
});

test('session objects are for the client alone and end with their session', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const second = client.openSession();
  client.create(session, attributes(DATA));
  const other = tee.connect();
  const others = other.openSession();

  assert.equal(client.find(second, EVERYTHING).length, 1, 'all sessions of the client see it');
  assert.deepEqual(other.find(others, EVERYTHING), []);
  client.ok(CMD.CLOSE_SESSION, u32(session));
  assert.deepEqual(client.find(second, EVERYTHING), []);
});

test('a token object that another client destroys leaves a handle that means nothing', () => {
  const tee = new TestTee();
  const { client, session } = tee.connectUser();
  const other = tee.connect();
  const others = other.openSession();
  const object = client.create(session, attributes(DATA, ON_TOKEN));
  const [theirs] = other.find(others, EVERYTHING);
  assert.equal(theirs, 1);

  client.ok(CMD.DESTROY_OBJECT, u32(session, object));

  other.refused(CKR.OBJECT_HANDLE_INVALID, CMD.DESTROY_OBJECT, u32(others, 1));
  const fresh = other.create(others, attributes(DATA));
  assert.equal(fresh, 2, 'the dead handle is not given to another object');
});

test('an object of one token is not reached through a session with another', () => {
  const { client, session } = new TestTee().connectUser();
  const object = client.create(session, attributes(DATA, ON_TOKEN));
  const elsewhere = client.openSession(1);

  client.refused(CKR.OBJECT_HANDLE_INVALID, CMD.DESTROY_OBJECT, u32(elsewhere, object));
  client.ok(CMD.DESTROY_OBJECT, u32(session, object));
});

test('only a read-write session changes or destroys token objects', () => {
  const { client, session } = new TestTee().connectUser();
  const readOnly = client.openSession(0, 'read-only');
  const object = client.create(session, attributes(DATA, ON_TOKEN));
  const label = Buffer.concat([u32(readOnly, object), attributes([CKA.LABEL, 'x'])]);

  client.refused(CKR.SESSION_READ_ONLY, CMD.SET_ATTRIBUTE_VALUE, label);
  client.refused(CKR.SESSION_READ_ONLY, CMD.DESTROY_OBJECT, u32(readOnly, object));
});

test('a search matches every attribute it names, and an empty one matches all', () => {
  const { client, session } = new TestTee().connectUser();
  const one = client.create(session, attributes(DATA, [CKA.LABEL, 'one'], ON_TOKEN));
  const two = client.create(session, attributes(DATA, [CKA.LABEL, 'two'], ON_TOKEN));

  assert.deepEqual(client.find(session, EVERYTHING), [two, one], 'newest first');
  assert.deepEqual(client.find(session, attributes([CKA.LABEL, 'one'])), [one]);
  assert.deepEqual(client.find(session, attributes([CKA.LABEL, 'one'], [CKA.TOKEN, false])), []);
  assert.deepEqual(client.find(session, attributes([CKA.LABEL, 'on'])), []);
});

test('a search by a value that may not be read finds nothing: it would confirm a guess', () => {
  const { client, session } = new TestTee().connectUser();
  const secret = (extractable: boolean): number =>
    client.create(
      session,
      attributes(
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
        [CKA.VALUE, 'guess'],
        [CKA.EXTRACTABLE, extractable],
      ),
    );
  secret(false);
  const readable = secret(true);

  assert.deepEqual(client.find(session, attributes([CKA.VALUE, 'guess'])), [readable]);
});

test('a search is handed out in portions and then ends (PKCS#11 v2.40 §5.7)', () => {
  const { client, session } = new TestTee().connectUser();
  for (let count = 0; count < 3; count += 1) client.create(session, attributes(DATA));
  client.ok(CMD.FIND_OBJECTS_INIT, Buffer.concat([u32(session), EVERYTHING]));

  assert.deepEqual(client.ok(CMD.FIND_OBJECTS, u32(session), { room: 8 }), u32(3, 2));
  assert.deepEqual(client.ok(CMD.FIND_OBJECTS, u32(session), { room: 8 }), u32(1));
  assert.deepEqual(client.ok(CMD.FIND_OBJECTS, u32(session), { room: 8 }), Buffer.alloc(0));
  const again = Buffer.concat([u32(session), EVERYTHING]);
  client.refused(CKR.FUNCTION_FAILED, CMD.FIND_OBJECTS_INIT, again);
  client.ok(CMD.FIND_OBJECTS_FINAL, u32(session));
  client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.FIND_OBJECTS, u32(session), { room: 8 });
  client.refused(CKR.OPERATION_NOT_INITIALIZED, CMD.FIND_OBJECTS_FINAL, u32(session));
});

test('an object keeps its handle, and a free handle is used again', () => {
  const { client, session } = new TestTee().connectUser();
  const first = client.create(session, attributes(DATA, ON_TOKEN));
  const second = client.create(session, attributes(DATA));
  client.ok(CMD.DESTROY_OBJECT, u32(session, first));
  const third = client.create(session, attributes(DATA));

  assert.deepEqual([first, second, third], [1, 2, 1]);
  assert.deepEqual(client.find(session, EVERYTHING), [third, second]);
});
