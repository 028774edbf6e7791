/** A TA with as many slots as it is told to have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CKA } from '../../../tee/secure-world/pkcs11/abi-attributes.ts';
import { CKO, CKR, CMD } from '../../../tee/secure-world/pkcs11/abi.ts';
import { pkcs11App } from '../../../tee/secure-world/pkcs11/ta.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';
import type { TrustedStorage } from '../../../tee/secure-world/storage/trusted-storage.ts';
import { World } from '../../../tee/secure-world/world/world.ts';
import { PromptClient } from '../prompt-client.ts';
import { attributes, TaClient, u32 } from './ta-client.ts';

function start(storage: TrustedStorage, slotCount: number): TaClient {
  const app = pkcs11App(storage, { slotCount });
  const world = new World([app], () => assert.fail('a panic'));
  const process = new PromptClient(world, { pid: 1, uid: 0, gid: 0, groups: [] });
  const none = { kind: 'none' } as const;
  const operation = { types: 0, parameters: [none, none, none, none] } as const;
  return new TaClient(process, process.open(app.uuid, 0, 0, operation).session);
}

test('there are as many slots as asked for', () => {
  const client = start(openMemoryStorage(), 5);
  assert.deepEqual(client.ok(CMD.SLOT_LIST, u32(0), { room: 20 }), u32(0, 1, 2, 3, 4));
  client.refused(CKR.SLOT_ID_INVALID, CMD.TOKEN_INFO, u32(5), { room: 160 });
});

test('a token whose slot is not there today is swept as little as the others', () => {
  const storage = openMemoryStorage();
  const before = start(storage, 3);
  before.prepareToken(2);
  const template = attributes([CKA.CLASS, CKO.DATA], [CKA.TOKEN, true], [CKA.LABEL, 'kept']);
  before.create(before.openSession(2), template);

  const fewer = start(storage, 1);
  fewer.refused(CKR.SLOT_ID_INVALID, CMD.TOKEN_INFO, u32(2), { room: 160 });

  const after = start(storage, 3);
  assert.equal(after.find(after.openSession(2), template).length, 1);
});
