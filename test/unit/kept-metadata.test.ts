/** What the agent hands to the installer of its own metadata, and for what it asks the gateway. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { keptMetadata } from '../../agent/io/installers/separate/kept-metadata.ts';
import { TestRepository } from '../support/test-repository.ts';

const director = new TestRepository();
director.publishRoot();
director.publishRoot();
director.publish();

const kept = new Map([
  ['director/root', director.file('3.root.json')],
  ['director/timestamp', director.file('timestamp.json')],
  ['image/snapshot', Buffer.from('tuf snapshot')],
  ['image/delegated/apps', Buffer.from('apps')],
]);
const store = { loadTrusted: () => Promise.resolve(kept) };
const asked: string[] = [];
const gateway = {
  fetchMetadata: (_repo: string, file: string) => {
    asked.push(file);
    return Promise.resolve(director.served.get(file));
  },
};
const source = keptMetadata(store, gateway);

test('the newest root is the one that the agent has, and no other comes after it', async () => {
  assert.equal(await source('director', '3.root.json', 1), kept.get('director/root'));
  assert.equal(await source('director', '4.root.json', 1), undefined);
  assert.deepEqual(asked, []);
});

test('a root before it is fetched: an installer may be further behind', async () => {
  assert.equal(await source('director', '2.root.json', 1), director.file('2.root.json'));
  assert.deepEqual(asked.splice(0), ['2.root.json']);
});

test('what was verified is handed over as it was, by the names of both formats', async () => {
  assert.equal(await source('director', 'timestamp.json', 1), kept.get('director/timestamp'));
  assert.equal(await source('image', '7.snapshot.json', 1), kept.get('image/snapshot'));
  assert.equal(await source('image', 'delegations/apps.json', 1), kept.get('image/delegated/apps'));
  assert.deepEqual(asked, []);
});

test('without network there is what was kept, and nothing else', async () => {
  const local = keptMetadata(store, undefined);
  assert.equal(await local('director', '2.root.json', 1), undefined);
  assert.equal(await local('director', 'timestamp.json', 1), kept.get('director/timestamp'));
});
