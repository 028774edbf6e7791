/** What the gateway is told besides updates: once, again when it has changed, and in no update's way. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { DEVICE, describe as said, openWorld, type World } from '../support/world.ts';

type Told = Readonly<Record<string, { readonly content: unknown }>>;

describe('a device tells its gateway', () => {
  let world: World;
  let packages: string;
  before(async () => {
    world = await openWorld('provisioned');
    packages = join(world.directory, 'packages');
    writeFileSync(packages, 'busybox 1.36\n');
    world.device.configure({
      telemetry: { system_info: true, network: true, packages: true, packages_file: packages },
    });
  });
  after(() => world.close());

  const told = async (): Promise<Told> => {
    const { telemetry } = (await world.director.control('GET', `/devices/${DEVICE}`)) as {
      telemetry: Told;
    };
    return telemetry;
  };
  let seen = 0;
  /** @returns what was asked of the gateway, but of the repositories */
  const once = async (): Promise<readonly string[]> => {
    const cycle = await world.device.agent(['once']);
    assert.equal(cycle.json['outcome'], 'up-to-date', said(cycle));
    const lines = (await world.director.control('GET', '/requests')) as {
      method: string;
      path: string;
    }[];
    const before = seen;
    seen = lines.length;
    return lines
      .slice(before)
      .filter(({ path }) => !/^\/(?:director|repo|events|devices|secrets)/u.test(path))
      .map(({ method, path }) => `${method} ${path}`);
  };

  test('machine, packages and network, in its first cycle', async () => {
    assert.deepEqual(await once(), [
      'PUT /system_info',
      'PUT /core/installed',
      'PUT /system_info/network',
    ]);
    const all = await told();
    assert.deepEqual(all['core/installed']?.content, [{ name: 'busybox', version: '1.36' }]);
    const network = all['system_info/network']?.content as Record<string, string>;
    assert.deepEqual([network['hostname'], network['local_ipv4']], [hostname(), '127.0.0.1']);
    assert.equal((all['system_info']?.content as { class: string }).class, 'system');
  });

  test('nothing of it again while it is the same, and only what has changed', async () => {
    assert.deepEqual(await once(), []);
    writeFileSync(packages, 'busybox 1.36\ndropbear 2024.85\n');
    assert.deepEqual(await once(), ['PUT /core/installed']);
    assert.equal(((await told())['core/installed']?.content as unknown[]).length, 2);
    assert.deepEqual(await once(), []);
  });

  test('the rest all the same when one part cannot be read, and updates go on', async () => {
    world.device.configure({
      telemetry: { system_info: true, network: true, packages_file: '/nowhere/packages' },
    });
    await world.offer('telemetry.img', Buffer.from('installed all the same'));
    const cycle = await world.device.agent(['once']);
    assert.equal(cycle.json['outcome'], 'reboot-required', said(cycle));
    world.device.boot();
    const confirmed = await world.device.agent(['once']);
    assert.equal(confirmed.json['outcome'], 'installed', said(confirmed));
    assert.match(
      confirmed.stderr,
      /FILE_UNREADABLE.*\/nowhere\/packages.*telemetry\.packages_file/u,
    );
  });
});
