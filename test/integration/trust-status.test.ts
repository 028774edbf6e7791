/** How trust began, from the record of provisioning to what `status` says. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

import { readStatus } from '../../agent/commands/status.ts';
import { Database } from '../../agent/io/store/database.ts';
import { StoredRecord } from '../../agent/io/store/provisioning-record.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import { temporaryDirectory } from '../support/temporary.ts';

let temporary: ReturnType<typeof temporaryDirectory>;
let database: Database;
let store: SqliteStore;
beforeEach(async () => {
  temporary = temporaryDirectory('status');
  database = await Database.open(join(temporary.path, 'ota-agent.db'));
  store = new SqliteStore(database);
});
afterEach(async () => {
  await database.close();
  temporary.remove();
});

test('status warns for as long as trust rests on the first contact (B1)', async () => {
  const record = new StoredRecord(store);
  await record.put('director-trust', 'first-use');
  await record.put('image-trust', 'pinned-roots');
  const { trust, warnings } = await readStatus(store, 'file');
  assert.deepEqual(trust, { director: 'first-use', image: 'pinned-roots' });
  assert.match(String(warnings), /^trusted on first use: .*uptane\.roots$/u);
});

test('status does not warn of roots that were pinned, or from before this was recorded', async () => {
  assert.deepEqual((await readStatus(store, 'file'))['warnings'], []);
  const record = new StoredRecord(store);
  for (const name of ['director-trust', 'image-trust']) await record.put(name, 'initial-metadata');
  assert.deepEqual((await readStatus(store, 'file'))['warnings'], []);
});

test('a complete set is there at once, and its root says so (B1)', async () => {
  const record = new StoredRecord(store);
  assert.equal(await record.hasRoot('image'), false);
  const files = new Map([
    ['root', Buffer.from('r')],
    ['timestamp', Buffer.from('t')],
  ]);
  await record.pin('image', files);
  assert.equal(await record.hasRoot('image'), true);
  const trusted = await store.loadTrusted();
  assert.deepEqual([...trusted.keys()].sort(), ['image/root', 'image/timestamp']);
});
