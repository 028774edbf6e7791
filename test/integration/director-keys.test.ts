import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { JsonMap } from '../director/json/canonical-json.ts';
import { ROLES } from '../director/metadata/repository-keys.ts';
import type { SimulatedDevice } from '../director/simulated/device.ts';
import { examine, payload, version } from '../unit/director/examine.ts';
import { controlRefuses, servedTo, startFixture, type Fixture } from './director-fixture.ts';

let fixture: Fixture;
let device: SimulatedDevice;

before(async () => {
  fixture = await startFixture();
  device = await fixture.newDevice('device-1');
});
after(async () => {
  await fixture.end();
});

function keyids(root: string | undefined, role: string): readonly string[] {
  const roles = payload(root ?? '')['roles'] as Record<string, { keyids: string[] }>;
  return roles[role]?.keyids ?? [];
}

describe('rotating keys (§5.4.4.3)', () => {
  for (const repo of ['director', 'image'] as const) {
    const path = repo === 'image' ? 'repo' : 'director';

    test(`${repo}: each role in turn, and the device can follow every step`, async () => {
      let roots = 1;
      let before = await servedTo(device, path, roots);
      for (const role of ROLES) {
        const keyType = role === 'root' ? 'rsa-2048' : 'ed25519';
        const answer = await fixture.director.control('POST', '/rotations', {
          repo,
          role,
          keyType,
        });
        roots += 1;
        assert.deepEqual(answer, { rootVersion: roots });
        const served = await servedTo(device, path, roots);
        assert.deepEqual(examine(served, Date.now()), [], role);
        assert.deepEqual(served.roots.slice(0, -1), before.roots, 'the chain only grows');
        for (const one of ROLES) {
          const [old, now] = [keyids(before.roots.at(-1), one), keyids(served.roots.at(-1), one)];
          assert.equal(old.join() === now.join(), one !== role, `${role} was rotated, not ${one}`);
        }
        assert.ok(version(served.set.timestamp) > version(before.set.timestamp));
        const { meta } = payload(served.set.snapshot) as { meta: { 'root.json': JsonMap } };
        assert.deepEqual(meta['root.json'], { version: roots });
        assert.deepEqual(await servedTo(device, path, roots), served);
        before = served;
      }
      const file = join(fixture.director.stateDir, repo, `${String(roots)}.root.json`);
      assert.equal(readFileSync(file, 'utf8'), before.roots.at(-1));
    });
  }

  test('to several keys: as many must sign as the threshold says', async () => {
    const body = { repo: 'image', role: 'timestamp', keyCount: 3, threshold: 2 };
    const { rootVersion } = (await fixture.director.control('POST', '/rotations', body)) as {
      rootVersion: number;
    };
    const served = await servedTo(device, 'repo', rootVersion);
    assert.deepEqual(examine(served, Date.now()), []);
    assert.equal(keyids(served.roots.at(-1), 'timestamp').length, 3);
  });

  test('is refused for what does not exist, and changes nothing', async () => {
    const before = await fixture.director.control('GET', '/status');
    for (const body of [
      { repo: 'nothing' },
      { repo: 'image', role: 'mirrors' },
      { repo: 'image', keyType: 'dsa' },
      { repo: 'image', keyCount: 1, threshold: 2 },
      {},
    ]) {
      await controlRefuses(
        fixture.director.control('POST', '/rotations', body),
        400,
        'json_malformed',
      );
    }
    assert.deepEqual(await fixture.director.control('GET', '/status'), before);
  });
});

describe('the dates of metadata', () => {
  test('follow the setting at once, with higher versions', async () => {
    const { set: before } = await servedTo(device, 'repo', 1);
    const validitySeconds = { timestamp: 7200, targets: 86_400 };
    await fixture.director.control('PUT', '/settings', { validitySeconds });
    const { set } = await servedTo(device, 'repo', 1);
    const hours = (text: string): number => {
      const { expires } = payload(text) as { expires: string };
      assert.match(expires, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/u);
      return Math.round((Date.parse(expires) - Date.now()) / 3_600_000);
    };
    assert.deepEqual([hours(set.timestamp), hours(set.targets)], [2, 24]);
    for (const level of ['timestamp', 'targets'] as const) {
      assert.ok(version(set[level]) > version(before[level]));
    }
  });

  test('are refreshed by request, for one device or for the Image repository', async () => {
    const versions = async (path: 'director' | 'repo'): Promise<readonly number[]> => {
      const { set } = await servedTo(device, path, 1);
      return [version(set.targets), version(set.snapshot), version(set.timestamp)];
    };
    const [director, image] = [await versions('director'), await versions('repo')];
    const raised = (from: readonly number[], by: readonly number[]): readonly number[] =>
      from.map((one, at) => one + (by[at] ?? 0));
    await fixture.director.control('POST', '/refresh', {});
    assert.deepEqual(await versions('repo'), raised(image, [0, 0, 1]));
    await fixture.director.control('POST', '/refresh', { role: 'snapshot', device: 'device-1' });
    assert.deepEqual(await versions('director'), raised(director, [0, 1, 1]));
    await fixture.director.control('POST', '/refresh', { role: 'targets', device: 'device-1' });
    assert.deepEqual(await versions('director'), raised(director, [1, 2, 2]));
    await controlRefuses(
      fixture.director.control('POST', '/refresh', { device: 'nobody' }),
      404,
      'device_not_found',
    );
  });
});

describe('publishing and assigning by control', () => {
  const publish = async (name: string, more: object = {}): Promise<unknown> =>
    fixture.director.control('POST', '/images', {
      path: import.meta.filename,
      name,
      hardwareIds: ['primary-hw'],
      version: '1',
      ...more,
    });

  test('the same image twice changes nothing; other content under its name is refused', async () => {
    const first = await publish('twice.bin');
    const { set } = await servedTo(device, 'repo', 1);
    assert.deepEqual(await publish('twice.bin'), first);
    assert.deepEqual((await servedTo(device, 'repo', 1)).set, set);
    const path = join(import.meta.dirname, 'director-fixture.ts');
    const files = (): readonly string[] => readdirSync(join(fixture.director.stateDir, 'images'));
    const before = files();
    await controlRefuses(publish('twice.bin', { path }), 409, 'image_exists');
    await controlRefuses(publish('twice.bin', { encrypt: true }), 409, 'image_exists');
    assert.deepEqual(files(), before);
  });

  test('names that lead elsewhere are refused', async () => {
    for (const name of ['../x', '/x', 'a/../b', 'a\nb', 'x'.repeat(255)]) {
      const code = name.length > 254 ? 'json_malformed' : 'image_name';
      await controlRefuses(publish(name), 400, code);
    }
    await controlRefuses(publish('x', { path: '/nonexistent' }), 400, 'image_unreadable');
    await controlRefuses(publish('x', { hardwareIds: [] }), 400, 'json_malformed');
    await controlRefuses(publish('x', { role: 'nobody' }), 404, 'role_not_found');
  });

  test('an assignment names what exists and fits', async () => {
    const assign = async (body: object): Promise<unknown> =>
      fixture.director.control('POST', '/assignments', body);
    await publish('fits.bin');
    await publish('other.bin', { hardwareIds: ['toaster'] });
    const image = 'fits.bin';
    await controlRefuses(assign({ device: 'device-1', image }), 409, 'no_ecus');
    await controlRefuses(assign({ device: 'nobody', image }), 404, 'device_not_found');
    await device.register();
    const own = { device: 'device-1' };
    await controlRefuses(assign({ ...own, image: 'nothing' }), 404, 'image_not_found');
    await controlRefuses(assign({ ...own, image, ecu: 'nobody' }), 404, 'ecu_not_found');
    await controlRefuses(assign({ ...own, image: 'other.bin' }), 409, 'hardware_id_mismatch');
    const twice = { ...own, targets: [{ image }, { image: 'twice.bin' }] };
    await controlRefuses(assign(twice), 409, 'ecu_repeated');
    const { targets } = payload((await device.get('/director/targets.json')).body.toString());
    assert.deepEqual(targets, {});
  });
});
