/** The whole agent against an Image repository that speaks TUF 1.0, the Director being as ever. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import type { AgentResult } from '../support/device.ts';
import { trustedState } from '../support/trusted-state.ts';
import { describe as said, HARDWARE, DEVICE, openWorld, type World } from '../support/world.ts';

let world: World;

before(async () => {
  world = await openWorld('provisioned', { imageDialect: 'tuf' });
  world.device.configure({ installer: { type: 'file', path: installed() } });
});
after(() => world.close());

const installed = (): string => join(world.directory, 'installed.img');
const state = (): Promise<Record<string, string>> =>
  trustedState(join(world.device.options.directory, 'storage'));

async function installs(content: Buffer): Promise<void> {
  const result = await world.device.agent(['once']);
  assert.equal(result.exit, 0, said(result));
  assert.equal(result.json['outcome'], 'installed');
  assert.ok(readFileSync(installed()).equals(content));
}

test('installs what a TUF repository with consistent snapshots signs', async () => {
  await world.offer('app/first.img', Buffer.from('first'));
  await installs(Buffer.from('first'));
});

test('follows its root from one set of keys to the next, of another type (§5.4.4.3)', async () => {
  for (const role of ['root', 'targets', 'timestamp']) {
    const body = { repo: 'image', role, keyType: 'rsa-2048', keyCount: 2, threshold: 2 };
    await world.director.control('POST', '/rotations', body);
  }
  await world.offer('second.img', Buffer.from('second'));
  await installs(Buffer.from('second'));
});

test('installs what a delegated role signs, under its versioned name', async () => {
  const role = { name: 'supplier', paths: ['supplied/*'], terminating: true };
  await world.director.control('POST', '/delegations', role);
  const path = join(world.directory, 'supplied');
  writeFileSync(path, 'third');
  await world.director.publish({
    path,
    name: 'supplied/third.img',
    hardwareIds: [HARDWARE],
    version: '3',
    role: 'supplier',
  });
  await world.director.assign(DEVICE, 'supplied/third.img');
  await installs(Buffer.from('third'));
  assert.ok('image/delegated/supplier' in (await state()));
});

for (const [fault, code] of [
  ['snapshot-rollback', 'VERSION_ROLLBACK'],
  ['signature-invalid', 'THRESHOLD_NOT_MET'],
  ['root-not-signed-by-old', 'THRESHOLD_NOT_MET'],
  ['expired-timestamp', 'METADATA_EXPIRED'],
] as const) {
  test(`${fault} of it is ${code}, keeps nothing, and the next poll goes on (T2, T3, S3, R3)`, async () => {
    await world.offer(`${fault}.img`, Buffer.from(fault));
    const seen = await world.device.agent(['check']);
    assert.equal(seen.exit, 10, said(seen));
    const trusted = await state();
    const parameters =
      fault.includes('signed') || fault.includes('invalid') ? { repo: 'image' } : {};
    await world.director.fault(fault, 'on', { parameters });

    const refused: AgentResult = await world.device.agent(['once']);

    await world.director.fault(fault, 'off');
    assert.equal(refused.exit, 20, said(refused));
    assert.equal(refused.json['code'], code);
    const { repo } = refused.json['details'] as { repo: string };
    assert.equal(repo, 'image');
    assert.deepEqual(await state(), trusted);
    await installs(Buffer.from(fault));
  });
}
