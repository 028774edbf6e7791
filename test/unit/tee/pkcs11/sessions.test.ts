import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { hex, TestTee, u32, type TaClient } from './ta-client.ts';

const BAD_PARAMETERS = 0xffff_0006;
const NOT_SUPPORTED = 0xffff_000a;
const SHORT_BUFFER = 0xffff_0010;
const FROM_TA = 4;

test('PING answers the version, from the TA: libckteec insists on both', () => {
  const reply = new TestTee().connect().call(CMD.PING, u32(0), { room: 12 });

  assert.deepEqual([reply.result, reply.origin, reply.rv], [0, FROM_TA, CKR.OK]);
  assert.deepEqual(reply.output, u32(1, 0, 0));
});

test('a command that does not exist is not supported, and says nothing in parameter 0', () => {
  const reply = new TestTee().connect().call(53, u32(0));

  assert.deepEqual([reply.result, reply.origin, reply.rv], [NOT_SUPPORTED, FROM_TA, undefined]);
});

test('parameter 0 must have room for a return value', () => {
  const client = new TestTee().connect();

  assert.equal(client.call(CMD.PING, Buffer.alloc(3), { room: 12 }).result, BAD_PARAMETERS);
  const none = { kind: 'none' } as const;
  const nothing = { types: 0, parameters: [none, none, none, none] } as const;
  assert.equal(client.raw(CMD.PING, nothing).result, BAD_PARAMETERS);
});

test('parameters of another shape than the command has are refused', () => {
  const client = new TestTee().connect();

  client.refused(CKR.ARGUMENTS_BAD, CMD.PING, u32(0));
  client.refused(CKR.ARGUMENTS_BAD, CMD.PING, u32(0), { room: 12, input: Buffer.alloc(1) });
  client.refused(CKR.ARGUMENTS_BAD, CMD.PING, u32(0), { room: 11 });
  client.refused(CKR.ARGUMENTS_BAD, CMD.PING, u32(0), { room: 13 });
});

test('arguments that end early or late are refused, and nothing happens', () => {
  const client = new TestTee().connect();

  client.refused(CKR.ARGUMENTS_BAD, CMD.OPEN_SESSION, u32(0), { room: 4 });
  client.refused(CKR.ARGUMENTS_BAD, CMD.OPEN_SESSION, u32(0, 6, 0), { room: 4 });

  client.refused(CKR.SESSION_HANDLE_INVALID, CMD.SESSION_INFO, u32(1), { room: 16 });
});

test('asking for a list without room gets its size, with both ways of saying "too small"', () => {
  const client = new TestTee().connect();

  const asked = client.call(CMD.SLOT_LIST, u32(5), { room: 0 });

  assert.deepEqual([asked.result, asked.rv, asked.size], [SHORT_BUFFER, CKR.BUFFER_TOO_SMALL, 12]);
  assert.deepEqual(client.ok(CMD.SLOT_LIST, u32(5), { room: 64 }), u32(0, 1, 2));
});

test('every mechanism that is listed has information, and no other has', () => {
  const client = new TestTee().connect();
  const listed = client.ok(CMD.MECHANISM_IDS, u32(0), { room: 1024 });

  for (let at = 0; at < listed.byteLength; at += 4) {
    const info = client.ok(CMD.MECHANISM_INFO, u32(0, listed.readUInt32LE(at)), { room: 12 });
    assert.notEqual(info.readUInt32LE(8), 0, 'a mechanism that does nothing is not served');
  }
  client.refused(CKR.MECHANISM_INVALID, CMD.MECHANISM_INFO, u32(0, 0x1085), { room: 12 });
  client.refused(CKR.SLOT_ID_INVALID, CMD.MECHANISM_INFO, u32(3, 0x1041), { room: 12 });
});

test('sessions are serial; other flags than read-write are refused (PKCS#11 v2.40 §5.6)', () => {
  const client = new TestTee().connect();

  client.refused(CKR.SESSION_PARALLEL_NOT_SUPPORTED, CMD.OPEN_SESSION, u32(0, 2), { room: 4 });
  client.refused(CKR.ARGUMENTS_BAD, CMD.OPEN_SESSION, u32(0, 0xc), { room: 4 });
  client.refused(CKR.SLOT_ID_INVALID, CMD.OPEN_SESSION, u32(3, 4), { room: 4 });
  assert.deepEqual(sessionInfo(client, client.openSession(2, 'read-only')), [2, 0, 4, 0]);
  assert.deepEqual(sessionInfo(client, client.openSession(1)), [1, 2, 6, 0]);
});

test('a handle is the lowest that is free, and each client counts from 1', () => {
  const tee = new TestTee();
  const client = tee.connect();
  const handles = [client.openSession(), client.openSession(), client.openSession()];
  client.ok(CMD.CLOSE_SESSION, u32(2));

  assert.deepEqual(handles, [1, 2, 3]);
  assert.deepEqual([client.openSession(), client.openSession()], [2, 4]);
  assert.equal(tee.connect().openSession(), 1);
});

test('closing all sessions with a token leaves those with another', () => {
  const client = new TestTee().connect();
  const [first, second, other] = [
    client.openSession(),
    client.openSession(),
    client.openSession(1),
  ];

  client.ok(CMD.CLOSE_ALL_SESSIONS, u32(0));

  for (const closed of [first, second]) {
    client.refused(CKR.SESSION_HANDLE_INVALID, CMD.CLOSE_SESSION, u32(closed));
  }
  client.ok(CMD.CLOSE_SESSION, u32(other));
});

test('the token counts the sessions of all clients', () => {
  const tee = new TestTee();
  const [one, two] = [tee.connect(), tee.connect()];
  one.openSession();
  two.openSession(0, 'read-only');
  one.openSession(1);

  assert.deepEqual(sessionCounts(one), { all: 2, readWrite: 1 });
  two.close();
  assert.deepEqual(sessionCounts(one), { all: 1, readWrite: 1 });
});

test('a slot number is a slot number, whatever is asked of it', () => {
  const client = new TestTee().connect();
  const room = { [CMD.SLOT_INFO]: 104, [CMD.TOKEN_INFO]: 160, [CMD.MECHANISM_IDS]: 400 };
  for (const [command, size] of Object.entries(room)) {
    client.refused(CKR.SLOT_ID_INVALID, Number(command), u32(3), { room: size });
  }
  client.refused(CKR.SLOT_ID_INVALID, CMD.CLOSE_ALL_SESSIONS, u32(3));
});

test('random numbers fill the room there is and do not repeat', () => {
  const client = new TestTee().connect();
  const session = client.openSession();

  const first = client.ok(CMD.GENERATE_RANDOM, u32(session), { room: 32 });
  const second = client.ok(CMD.GENERATE_RANDOM, u32(session), { room: 32 });

  assert.equal(first.byteLength, 32);
  assert.notDeepEqual(first, second);
  assert.equal(client.ok(CMD.GENERATE_RANDOM, u32(session), { room: 0 }).byteLength, 0);
  client.ok(CMD.SEED_RANDOM, u32(session), { input: Buffer.from('seed') });
  client.refused(CKR.SESSION_HANDLE_INVALID, CMD.GENERATE_RANDOM, u32(9), { room: 1 });
  client.refused(CKR.SESSION_HANDLE_INVALID, CMD.SEED_RANDOM, u32(9), { input: first });
});

function sessionInfo(client: TaClient, session: number): readonly number[] {
  const info = client.ok(CMD.SESSION_INFO, u32(session), { room: 16 });
  return [0, 4, 8, 12].map((at) => info.readUInt32LE(at));
}

function sessionCounts(client: TaClient): { readonly all: number; readonly readWrite: number } {
  const info = client.ok(CMD.TOKEN_INFO, u32(0), { room: 160 });
  assert.equal(hex(info.readUInt32LE(100)), '0xffffffff');
  return { all: info.readUInt32LE(104), readWrite: info.readUInt32LE(112) };
}
