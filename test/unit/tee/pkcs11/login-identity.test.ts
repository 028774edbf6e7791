/** Tokens that know their users by identity: OP-TEE's CFG_PKCS11_TA_AUTH_TEE_IDENTITY. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { readWhole } from '../../../tee/secure-world/storage/whole-object.ts';
import {
  hex,
  initPinArguments,
  initTokenArguments,
  pinArguments,
  setPinArguments,
  SO_PIN,
  TestTee,
  u32,
  USER_PIN,
} from './ta-client.ts';

const SO = 0;
const USER = 1;
const ROOT = { pid: 1, uid: 0, gid: 0, groups: [27] };
const OTHER = { pid: 2, uid: 1000, gid: 1000, groups: [] };
const AS_USER = 1;
const AS_GROUP = 2;

test('a token initialised without a PIN belongs to who did it', () => {
  const tee = new TestTee();
  const owner = tee.connect(ROOT, AS_USER);
  owner.ok(CMD.INIT_TOKEN, initTokenArguments(0, ''));

  assert.equal(hex(owner.tokenFlags()), '0x505');
  const stranger = tee.connect(OTHER, AS_USER);
  const theirs = stranger.openSession();
  for (let guess = 0; guess < 8; guess += 1) {
    stranger.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(theirs, SO, SO_PIN));
  }
  stranger.ok(CMD.CLOSE_SESSION, u32(theirs));
  assert.equal(hex(owner.tokenFlags()), '0x505', 'nobody can lock the owner out');
  owner.ok(CMD.LOGIN, pinArguments(owner.openSession(), SO, 'ignored'));
});

test('the SO names the user: himself, a user or a group by UUID, or everybody', () => {
  const tee = new TestTee();
  const owner = tee.connect(ROOT, AS_USER);
  owner.ok(CMD.INIT_TOKEN, initTokenArguments(0, ''));
  const session = owner.openSession();
  owner.ok(CMD.LOGIN, pinArguments(session, SO, ''));
  // gid=27, as Linux names it: UUIDv5 in 58ac9ca0-2086-4683-a1b8-ec4bc08e01b6 of "gid=1b".
  const sudo = `group:${groupUuid(tee)}`;
  owner.ok(CMD.INIT_PIN, initPinArguments(session, sudo));
  owner.ok(CMD.CLOSE_SESSION, u32(session));

  const member = tee.connect(ROOT, AS_GROUP, 27);
  const members = member.openSession();
  member.ok(CMD.LOGIN, pinArguments(members, USER, ''));
  assert.equal(member.state(members), 3);
  const sameUser = tee.connect(ROOT, AS_USER);
  sameUser.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(sameUser.openSession(), USER, ''));
});

test('the SO goes back to PINs with a PIN, as long as there is no user', () => {
  const tee = new TestTee();
  const owner = tee.connect(ROOT, AS_USER);
  owner.ok(CMD.INIT_TOKEN, initTokenArguments(0, ''));
  const session = owner.openSession();
  owner.ok(CMD.LOGIN, pinArguments(session, SO, ''));

  owner.ok(CMD.SET_PIN, setPinArguments(session, '', SO_PIN));

  assert.equal(hex(owner.tokenFlags()), '0x405');
  owner.ok(CMD.LOGOUT, u32(session));
  const anybody = tee.connect(OTHER, 0);
  anybody.ok(CMD.LOGIN, pinArguments(anybody.openSession(), SO, SO_PIN));
});

test('the first user’s PIN goes back to PINs, and shuts out the SO, as with OP-TEE', () => {
  const owner = new TestTee().connect(ROOT, AS_USER);
  owner.ok(CMD.INIT_TOKEN, initTokenArguments(0, ''));
  const session = owner.openSession();
  owner.ok(CMD.LOGIN, pinArguments(session, SO, ''));

  owner.refused(CKR.PIN_LEN_RANGE, CMD.INIT_PIN, initPinArguments(session, 'abc'));
  assert.equal(hex(owner.tokenFlags()), '0x505');
  owner.ok(CMD.INIT_PIN, initPinArguments(session, USER_PIN));
  assert.equal(hex(owner.tokenFlags()), '0x40d');
  owner.ok(CMD.LOGOUT, u32(session));
  owner.refused(CKR.PIN_INCORRECT, CMD.LOGIN, pinArguments(session, SO, ''));
  owner.ok(CMD.LOGIN, pinArguments(session, USER, USER_PIN));
});

test('text that names nobody is no PIN once there is a user', () => {
  const owner = new TestTee().connect(ROOT, AS_USER);
  owner.ok(CMD.INIT_TOKEN, initTokenArguments(0, ''));
  const session = owner.openSession();
  owner.ok(CMD.LOGIN, pinArguments(session, SO, ''));
  owner.ok(CMD.INIT_PIN, initPinArguments(session, ''));

  for (const text of ['user:xyz', 'group:', USER_PIN, 'public ']) {
    owner.refused(CKR.PIN_INVALID, CMD.INIT_PIN, initPinArguments(session, text));
    owner.refused(CKR.PIN_INVALID, CMD.SET_PIN, setPinArguments(session, '', text));
  }
  assert.equal(hex(owner.tokenFlags()), '0x50d');
});

/** Reads back what the TA stored for a group login: the token's record, bytes 52 to 68. */
function groupUuid(tee: TestTee): string {
  const probe = tee.connect(ROOT, AS_GROUP, 27);
  probe.ok(CMD.INIT_TOKEN, initTokenArguments(1, ''));
  const id = Buffer.concat([Buffer.from('token.db.1')], 32);
  const record =
    readWhole(tee.storage, 'fd02c9da-306c-48c7-a49c-bbd827ae86ee', id) ?? Buffer.alloc(0);
  const uuid = Buffer.from(record.subarray(52, 68));
  assert.equal(Buffer.from(record).readUInt32LE(48), AS_GROUP);
  for (const field of [uuid.subarray(0, 4), uuid.subarray(4, 6), uuid.subarray(6, 8)]) {
    field.reverse();
  }
  return uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
