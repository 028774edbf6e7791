import assert from 'node:assert/strict';
import { test } from 'node:test';

import { clientIdentity } from '../../tee/secure-world/world/identity.ts';

const ROOT = { pid: 1, uid: 0, gid: 0, groups: [] };
const SOMEBODY = { pid: 2, uid: 1000, gid: 1001, groups: [4, 27] };
const PUBLIC = 0;
const USER = 1;
const GROUP = 2;
const GENERIC = 0xffff_0000;
const BAD_PARAMETERS = 0xffff_0006;

/** What a real TA stored for root's user login, its fields little-endian: a38001ef f313 1c5d …. */
const ROOT_UUID = 'ef0180a3-13f3-5d1c-b7f5-888c0e21059a';

test('a user login is the UUID that Linux computes from "uid=" and the number in hex', () => {
  assert.deepEqual(clientIdentity(USER, 0, ROOT), { login: USER, uuid: ROOT_UUID });
  const somebody = clientIdentity(USER, 0, SOMEBODY);
  assert.notDeepEqual(somebody, clientIdentity(USER, 0, ROOT));
  assert.match(JSON.stringify(somebody), /-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
});

test('a group login is for members only: by effective group or by membership', () => {
  const own = clientIdentity(GROUP, 1001, SOMEBODY);
  const other = clientIdentity(GROUP, 27, SOMEBODY);

  assert.equal(typeof own, 'object');
  assert.equal(typeof other, 'object');
  assert.notDeepEqual(own, other);
  assert.equal(clientIdentity(GROUP, 0, SOMEBODY), GENERIC);
});

test('a user and a group of the same number are not the same client', () => {
  const user = clientIdentity(USER, 0, ROOT);
  const group = clientIdentity(GROUP, 0, ROOT);

  assert.ok(typeof user === 'object' && typeof group === 'object');
  assert.notEqual(user.uuid, group.uuid);
});

test('a public login is nobody, whoever asks', () => {
  const nobody = { login: PUBLIC, uuid: '00000000-0000-0000-0000-000000000000' };
  assert.deepEqual(clientIdentity(PUBLIC, 0, ROOT), nobody);
  assert.deepEqual(clientIdentity(PUBLIC, 5, SOMEBODY), nobody);
});

test('logins that Linux does not have, those of applications among them, are its EINVAL', () => {
  for (const login of [3, 4, 5, 6, 0x8000_0000]) {
    assert.equal(clientIdentity(login, 0, ROOT), BAD_PARAMETERS);
  }
});
