/** Values from the gateway to services on the device, with a key that stays in the token. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { once } from 'node:events';

import { describe as said, openWorld, type World } from '../support/world.ts';

const VALUE = 'correct-horse-battery-staple';

describe('secrets of a device', () => {
  let world: World;
  let memory: string;
  let directory: string;
  before(async () => {
    world = await openWorld('provisioned');
    memory = mkdtempSync('/dev/shm/ota-agent-secrets-');
    directory = join(memory, 'secrets');
    const log = join(memory, 'changed');
    const command = ['sh', '-c', `echo "$OTA_SECRETS_CHANGED" >> ${log}`];
    world.device.configure({ secrets: { directory, on_change: command } });
  });
  after(async () => {
    await world.close();
    rmSync(memory, { recursive: true });
  });

  const send = (name: string, value: string): Promise<unknown> =>
    world.director.control('PUT', `/devices/${world.device.options.id}/secrets/${name}`, {
      value: Buffer.from(value).toString('base64'),
    });
  const content = (name: string): string => readFileSync(join(directory, name), 'utf8');

  test('a gateway that keeps none leaves an empty directory', async () => {
    const result = await world.device.agent(['secrets']);
    assert.equal(result.exit, 0, said(result));
    assert.deepEqual(result.json['names'], []);
    assert.deepEqual(readdirSync(directory), []);
  });

  test('are files in memory after one command, and their services are told', async () => {
    await send('db-password', VALUE);
    await send('api-key', 'other');
    const result = await world.device.agent(['secrets']);
    assert.equal(result.exit, 0, said(result));
    const changed = ['api-key', 'db-password'];
    assert.deepEqual(result.json, {
      outcome: 'received',
      directory,
      version: 2,
      names: ['db-password', 'api-key'],
      changed,
    });
    assert.equal(content('db-password'), VALUE);
    assert.equal(readFileSync(join(memory, 'changed'), 'utf8'), `${changed.join(' ')}\n`);
    const again = await world.device.agent(['secrets']);
    assert.equal(again.json['outcome'], 'unchanged', said(again));
  });

  test('are in nothing that the agent prints or stores on the disk', async () => {
    const result = await world.device.agent(['secrets']);
    assert.ok(!said(result).includes(VALUE));
    const { directory: disk } = world.device.options;
    for (const name of readdirSync(disk, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const bytes = readFileSync(join(name.parentPath, name.name));
      assert.ok(!bytes.includes(VALUE), name.name);
    }
  });

  test('come through the daemon where one runs, and one that was taken back is gone', async () => {
    const daemon = world.device.start(['run']);
    try {
      const socket = String(world.device.settings['api']?.['socket']);
      while (!existsSync(socket)) await once(daemon.stderr ?? daemon, 'data');
      await send('api-key', 'newer');
      const path = `/devices/${world.device.options.id}/secrets/db-password`;
      await world.director.control('DELETE', path);
      const result = await world.device.agent(['secrets']);
      assert.equal(result.exit, 0, said(result));
      assert.deepEqual(result.json['changed'], ['api-key', 'db-password']);
      assert.equal(content('api-key'), 'newer');
      assert.ok(!existsSync(join(directory, 'db-password')));
    } finally {
      daemon.kill('SIGTERM');
      await once(daemon, 'exit');
    }
  });

  test('a service that could not be told is said of, and the files are there', async () => {
    const command = ['false'];
    world.device.configure({ secrets: { on_change: command } });
    await send('third', 'x');
    const result = await world.device.agent(['secrets']);
    assert.equal(result.exit, 0, said(result));
    assert.match(String(result.json['onChange']), /^false ended with 1/u);
    assert.equal(content('third'), 'x');
  });

  test('a directory on a disk is refused: exit 2, and it stays empty', async () => {
    const place = join(world.directory, 'on-disk');
    world.device.configure({ secrets: { directory: place } });
    const result = await world.device.agent(['secrets']);
    assert.equal(result.exit, 2, said(result));
    assert.equal(result.json['code'], 'SECRETS_PLACE');
    assert.deepEqual(readdirSync(place), []);
  });
});
