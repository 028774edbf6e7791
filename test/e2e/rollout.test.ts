/** The agent as a device of a rollout. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { CountedRollout } from '../director/control/rollouts.ts';
import type { Rollout } from '../director/rollouts/rollout.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

describe('a device of a rollout', () => {
  let world: World;
  let installed: string;
  before(async () => {
    world = await openWorld('provisioned');
    installed = join(world.directory, 'installed.img');
    world.device.configure({ installer: { type: 'file', path: installed } });
    const first = await world.device.agent(['once']);
    assert.equal(first.exit, 0, said(first));
  });
  after(() => world.close());

  const begin = async (image: string): Promise<string> => {
    const path = join(world.directory, image);
    writeFileSync(path, image);
    await world.director.publish({ path, name: image, hardwareIds: [HARDWARE], version: '1' });
    const body = { name: image, image, phases: [{ percentage: 100 }] };
    const { id } = (await world.director.control('POST', '/rollouts', body)) as Rollout;
    await world.director.control('POST', `/rollouts/${id}/start`);
    return id;
  };
  const show = async (id: string): Promise<CountedRollout> =>
    (await world.director.control('GET', `/rollouts/${id}`)) as CountedRollout;

  test('is given the image at its poll, installs it in that cycle, and the rollout is finished', async () => {
    const id = await begin('fw-1');
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.equal(readFileSync(installed, 'utf8'), 'fw-1');
    const { state, counts } = await show(id);
    assert.deepEqual([state, counts[0]?.succeeded], ['finished', 1]);
  });

  test('that fails stops it, and has nothing to do in the next cycle', async () => {
    const id = await begin('fw-2');
    await world.director.fault('image-bit-flip', 'on', { device: DEVICE });
    const result = await world.device.agent(['once']);
    assert.notEqual(result.exit, 0, said(result));
    await world.director.fault('image-bit-flip', 'off', { device: DEVICE });
    const { state, counts } = await show(id);
    assert.deepEqual([state, counts[0]?.failed], ['stopped', 1]);
    const next = await world.device.agent(['once']);
    assert.equal(next.exit, 0, said(next));
    assert.equal(readFileSync(installed, 'utf8'), 'fw-1');
  });
});
