import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { CountedRollout } from '../director/control/rollouts.ts';
import type { HistoryEntry } from '../director/rollouts/history.ts';
import type { Rollout } from '../director/rollouts/rollout.ts';
import { SimulatedUpdates, type Verdict } from '../director/simulated/updates.ts';
import type { MemberRow } from '../director/state/store.ts';
import {
  controlRefuses,
  deviceState,
  publishImage,
  startFixture,
  type Fixture,
} from './director-fixture.ts';

const CLI = join(import.meta.dirname, '../director/cli.ts');
const DEVICES = 10;

let fixture: Fixture;
let fleet: readonly SimulatedUpdates[];

before(async () => {
  fixture = await startFixture();
  fleet = await Promise.all(
    Array.from({ length: DEVICES }, async (_, at) => {
      const device = await fixture.newDevice(`device-${String(at)}`);
      await device.register();
      return new SimulatedUpdates(device);
    }),
  );
});
after(async () => {
  await fixture.end();
});

async function control<T>(method: string, path: string, body?: object): Promise<T> {
  return (await fixture.director.control(method, path, body)) as T;
}

async function create(image: string, more: object): Promise<string> {
  await publishImage(fixture, image, randomBytes(16));
  const { id } = await control<Rollout>('POST', '/rollouts', { name: image, image, ...more });
  return id;
}

async function steer(id: string, command: string): Promise<Rollout> {
  return control('POST', `/rollouts/${id}/${command}`);
}

async function show(id: string): Promise<CountedRollout> {
  return control('GET', `/rollouts/${id}`);
}

async function pollAll(works: Verdict): Promise<void> {
  await Promise.all(fleet.map(async (one) => one.poll(works)));
}

async function history(id: string): Promise<readonly HistoryEntry[]> {
  return control('GET', `/devices/${id}/history`);
}

async function cli(...args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const all = [CLI, '--state', fixture.director.stateDir, ...args];
    execFile(process.execPath, all, { timeout: 20_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(stderr));
    });
  });
}

const begunUnder = (id: string): readonly SimulatedUpdates[] =>
  fleet.filter((one) => one.begun.includes(`urn:here-ota:mtu:${id}`));

describe('rollouts', () => {
  test('reach every device in phases, each once, from the command line', async () => {
    await publishImage(fixture, 'good.bin', randomBytes(16));
    const args = ['rollout', 'good.bin', '--name', 'good', '--hardware-id', 'primary-hw'];
    const started = await cli(...args, '--phase', '20', '--phase', '100', '--start');
    const [id = ''] = started.split(' ');
    assert.equal(started, `${id} is running\n`);
    await pollAll(() => true);
    const first = await show(id);
    assert.equal(first.counts[0]?.succeeded, 2);
    for (let round = 0; round < 5; round += 1) await pollAll(() => true);
    const end = await show(id);
    assert.deepEqual([end.state, end.phase, end.counts[1]?.succeeded], ['finished', 1, 8]);
    assert.equal(begunUnder(id).length, DEVICES);
    for (const one of fleet) assert.equal(new Set(one.begun).size, one.begun.length);
    const entries = await history('device-0');
    assert.deepEqual(
      entries.map(({ what, images, detail }) => [what, images[0], detail]),
      [
        ['assigned', 'good.bin', 'by the rollout good'],
        ['succeeded', 'good.bin', 'OK: it runs'],
      ],
    );
    assert.match(await cli('rollouts'), /good: good\.bin, finished, every device has ended/u);
    assert.match(await cli('history', 'device-0'), /succeeded good\.bin OK: it runs/u);
  });

  test('with a bad release are stopped by 20 % failures in the first phase, and the rest is spared', async () => {
    const phases = [{ percentage: 50, failurePercent: 20 }, { percentage: 100 }];
    const id = await create('bad.bin', { phases });
    await steer(id, 'start');
    let tried = 0;
    // Every fifth device fails its health check.
    const isBad: Verdict = () => (tried += 1) % 5 !== 0;
    for (const one of fleet) await one.poll(isBad);
    const stopped = await show(id);
    assert.deepEqual([stopped.state, stopped.phase], ['stopped', 0]);
    assert.match(stopped.reason, /failed on 1 of 5 devices, and 20 % is the limit/u);
    for (let round = 0; round < 3; round += 1) await pollAll(() => true);
    assert.equal(begunUnder(id).length, 5);
    const failed = await control<readonly MemberRow[]>(
      'GET',
      `/rollouts/${id}/devices?state=failed`,
    );
    const [{ deviceId } = { deviceId: '' }] = failed;
    assert.equal((await deviceState(fixture, deviceId)).assignment, undefined);
    const one = fleet.find(({ device }) => device.id === deviceId);
    assert.equal(one?.begun.filter((urn) => urn.endsWith(id)).length, 1, 'not tried again');
    const last = (await history(deviceId)).at(-1);
    assert.deepEqual(
      [last?.what, last?.detail],
      ['failed', 'INSTALL_FAILED: the health check failed'],
    );
  });

  test('that are paused begin no device; resumed, they do; stopped, they take the image away', async () => {
    const id = await create('steered.bin', { phases: [{ percentage: 100 }] });
    await steer(id, 'start');
    await steer(id, 'pause');
    await pollAll(() => true);
    assert.equal(begunUnder(id).length, 0);
    await steer(id, 'resume');
    const [one, other] = fleet;
    assert.ok(one !== undefined && other !== undefined);
    // A manifest alone: it is assigned, and has not looked at its targets yet.
    await one.device.sendManifest({ counter: 1_000_000 });
    assert.equal((await deviceState(fixture, one.device.id)).assignment?.rollout, id);
    await steer(id, 'stop');
    await one.device.sendManifest({ counter: 1_000_001 });
    assert.equal((await deviceState(fixture, one.device.id)).assignment, undefined);
    assert.equal((await history(one.device.id)).at(-1)?.what, 'withdrawn');
    await other.poll(() => true);
    assert.equal(begunUnder(id).length, 0);
    assert.deepEqual((await show(id)).counts[0]?.withdrawn, 1);
  });

  test('leave alone devices that an operator has given something, and count them as withdrawn', async () => {
    await publishImage(fixture, 'by-hand.bin', randomBytes(16));
    const id = await create('overruled.bin', { phases: [{ percentage: 100 }] });
    await steer(id, 'start');
    const [, , one] = fleet;
    assert.ok(one !== undefined);
    await one.device.sendManifest({ counter: 1_000_000 });
    await fixture.director.assign(one.device.id, 'by-hand.bin');
    assert.equal((await show(id)).counts[0]?.withdrawn, 1);
    await steer(id, 'cancel');
    const { correlationId } = (await deviceState(fixture, one.device.id)).assignment ?? {};
    assert.notEqual(correlationId, `urn:here-ota:mtu:${id}`);
  });

  test('are for devices with a tag, and devices that get it later join', async () => {
    await cli('tag', 'device-3', 'lab', 'x');
    const id = await create('lab.bin', {
      filter: { tags: ['lab'] },
      phases: [{ percentage: 100 }],
    });
    await steer(id, 'start');
    await cli('tag', 'device-4', 'lab');
    await pollAll(() => true);
    const ids = begunUnder(id).map(({ device }) => device.id);
    assert.deepEqual(ids.sort(), ['device-3', 'device-4']);
  });

  test('are described as OpenAPI, and so is every other route', async () => {
    const { openapi, paths } = await control<{
      readonly openapi: string;
      readonly paths: Readonly<Record<string, Readonly<Record<string, object>>>>;
    }>('GET', '/openapi.json');
    assert.equal(openapi, '3.1.0');
    const steering = Object.keys(paths).filter((path) => path.startsWith('/rollouts/{id}/'));
    assert.deepEqual(steering.map((path) => path.split('/').at(-1)).sort(), [
      ...['advance', 'cancel', 'devices', 'pause', 'resume', 'start', 'stop'],
    ]);
    assert.ok(Object.keys(paths).length > 30);
  });

  test('that can do nothing are refused: no image, no devices, none with a key, no such rollout', async () => {
    const phases = [{ percentage: 100 }];
    const missing = { name: 'x', image: 'missing.bin', phases };
    await controlRefuses(control('POST', '/rollouts', missing), 404, 'image_not_found');
    const path = join(fixture.directory, 'to-encrypt');
    writeFileSync(path, randomBytes(16));
    const secret = { path, name: 'secret.bin', hardwareIds: ['primary-hw'], version: '1' };
    await control('POST', '/images', { ...secret, encrypt: true });
    const encrypted = { name: 'x', image: 'secret.bin', phases };
    const secretly = await control<Rollout>('POST', '/rollouts', encrypted);
    await controlRefuses(steer(secretly.id, 'start'), 409, 'rollout_empty');
    const id = await create('nobody.bin', { filter: { hardwareIds: ['other'] }, phases });
    await controlRefuses(steer(id, 'start'), 409, 'rollout_empty');
    assert.equal((await show(id)).state, 'draft');
    await controlRefuses(steer('nothing', 'start'), 404, 'rollout_not_found');
    await controlRefuses(steer('nothing', 'pause'), 404, 'rollout_not_found');
    await controlRefuses(control('GET', `/rollouts/${id}/devices?state=x`), 400, 'bad_request');
  });
});
