/** The agent as a device of a rollout. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import type { CountedRollout } from '../director/control/rollouts.ts';
import type { Rollout } from '../director/rollouts/rollout.ts';
import type { Device } from '../director/state/devices.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

describe('a device of a rollout', () => {
  let world: World;
  let installed: string;
  let memory: string;
  before(async () => {
    world = await openWorld('provisioned');
    installed = join(world.directory, 'installed.img');
    memory = mkdtempSync('/dev/shm/ota-agent-rollout-');
    const directory = join(memory, 'secrets');
    world.device.configure({
      installer: { type: 'file', path: installed },
      secrets: { directory },
    });
    const first = await world.device.agent(['once']);
    assert.equal(first.exit, 0, said(first));
  });
  after(async () => {
    await world.close();
    rmSync(memory, { recursive: true });
  });

  const publish = async (image: string, encrypt: boolean): Promise<void> => {
    const path = join(world.directory, image);
    writeFileSync(path, image);
    const published = { path, name: image, hardwareIds: [HARDWARE], version: '1', encrypt };
    await world.director.publish(published);
  };
  const begin = async (image: string): Promise<string> => {
    const body = { name: image, image, phases: [{ percentage: 100 }] };
    const { id } = (await world.director.control('POST', '/rollouts', body)) as Rollout;
    await world.director.control('POST', `/rollouts/${id}/start`);
    return id;
  };
  const show = async (id: string): Promise<CountedRollout> =>
    (await world.director.control('GET', `/rollouts/${id}`)) as CountedRollout;

  test('is given the image at its poll, installs it in that cycle, and the rollout is finished', async () => {
    await publish('fw-1', false);
    const id = await begin('fw-1');
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.equal(readFileSync(installed, 'utf8'), 'fw-1');
    const { state, counts } = await show(id);
    assert.deepEqual([state, counts[0]?.succeeded], ['finished', 1]);
  });

  test('that fails stops it, and has nothing to do in the next cycle', async () => {
    await publish('fw-2', false);
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

  test('is given an image that was encrypted for it alone, once that is ready', async () => {
    await publish('fw-3', true);
    const secrets = await world.device.agent(['secrets']);
    assert.equal(secrets.exit, 0, said(secrets));
    const id = await begin('fw-3');
    const isReady = async (): Promise<boolean> =>
      ((await world.director.control('GET', `/devices/${DEVICE}`)) as Device).prepared !==
      undefined;
    for (let attempt = 0; attempt < 200 && !(await isReady()); attempt += 1) await setTimeout(100);
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.equal(readFileSync(installed, 'utf8'), 'fw-3');
    assert.equal((await show(id)).state, 'finished');
  });
});
