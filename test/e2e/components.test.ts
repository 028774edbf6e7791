/** One update of several images against the Director: a slot, a tree of files and a single file. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';

import type { AgentResult } from '../support/device.ts';
import { tarArchive } from '../support/tar-archive.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

const PRIMARY = `${DEVICE}-primary`;

interface Device {
  readonly ecus: readonly { readonly serial: string; readonly primary?: boolean }[];
  readonly assignment?: { readonly outcome: string };
}

describe('a device of several components', () => {
  let world: World;
  let current: string;
  let table: string;
  let components: string;
  before(async () => {
    world = await openWorld('blank');
    current = join(world.directory, 'app', 'current');
    mkdirSync(join(world.directory, 'app', 'factory'), { recursive: true });
    writeFileSync(join(world.directory, 'app', 'factory', 'version'), 'factory');
    symlinkSync('factory', current);
    table = join(world.directory, 'table.bin');
    components = join(world.directory, 'components.toml');
    writeFileSync(
      components,
      `[[component]]
serial = "app-1"
hardware_id = "app-board"
installer = { type = "directory", path = ${JSON.stringify(current)} }

[[component]]
serial = "table-1"
hardware_id = "table-board"
installer = { type = "file", path = ${JSON.stringify(table)} }
`,
    );
    const provisioned = await agent('provision');
    assert.equal(provisioned.exit, 0, said(provisioned));
  });
  after(() => world.close());

  const agent = (...args: readonly string[]): Promise<AgentResult> =>
    world.device.agent([...args, '--config', components]);
  const about = async (): Promise<Device> =>
    (await world.director.control('GET', `/devices/${DEVICE}`)) as Device;
  const version = (): string => readFileSync(join(current, 'version'), 'utf8');
  const publish = async (name: string, content: Buffer, hardwareId: string): Promise<void> => {
    const path = join(world.directory, name.replaceAll('/', '-'));
    writeFileSync(path, content);
    await world.director.publish({ path, name, hardwareIds: [hardwareId], version: '1' });
  };
  const assign = (targets: readonly (readonly [string, string])[]): Promise<unknown> =>
    world.director.control('POST', '/assignments', {
      device: DEVICE,
      targets: targets.map(([image, ecu]) => ({ image, ecu })),
    });

  test('registers each of them with the Director', async () => {
    const { ecus } = await about();
    assert.deepEqual(
      ecus.map(({ serial }) => serial),
      [PRIMARY, 'app-1', 'table-1'],
    );
  });

  test('takes all images of one update, and reports each after the one reboot that it needs', async () => {
    const rootfs = randomBytes(1_000_000);
    await publish('rootfs-1', rootfs, HARDWARE);
    const tree = tarArchive([{ path: 'version', content: Buffer.from('one') }]);
    await publish('app-1.tar.gz', gzipSync(tree), 'app-board');
    await publish('table-1.bin', Buffer.from('table one'), 'table-board');
    await assign([
      ['rootfs-1', PRIMARY],
      ['table-1.bin', 'table-1'],
      ['app-1.tar.gz', 'app-1'],
    ]);
    const installed = await agent('once');
    assert.equal(installed.exit, 11, said(installed));
    world.device.boot();
    const confirmed = await agent('once');
    assert.equal(confirmed.exit, 0, said(confirmed));
    assert.ok(world.device.running(rootfs.length).equals(rootfs));
    assert.equal(version(), 'one');
    assert.equal(readFileSync(table, 'utf8'), 'table one');
    assert.equal((await about()).assignment?.outcome, 'done');
    const { json } = await agent('status');
    const images = (json['ecus'] as { serial: string; installed: { filename: string } }[]).map(
      ({ serial, installed: { filename } }) => [serial, filename],
    );
    assert.deepEqual(images, [
      [PRIMARY, 'rootfs-1'],
      ['app-1', 'app-1.tar.gz'],
      ['table-1', 'table-1.bin'],
    ]);
  });

  test('takes back all of them when one cannot be installed (exit 40), and says which', async () => {
    const hostile = tarArchive([{ path: '../climbs', content: Buffer.from('out') }]);
    await publish('app-2.tar', hostile, 'app-board');
    await publish('table-2.bin', Buffer.from('table two'), 'table-board');
    await assign([
      ['table-2.bin', 'table-1'],
      ['app-2.tar', 'app-1'],
    ]);
    const refused = await agent('once');
    assert.equal(refused.exit, 40, said(refused));
    assert.equal(refused.json['code'], 'INSTALL_FAILED');
    assert.equal((refused.json['details'] as Record<string, unknown>)['ecu'], 'app-1');
    assert.equal(version(), 'one');
    assert.equal(readFileSync(table, 'utf8'), 'table one');
    assert.equal(existsSync(join(world.directory, 'climbs')), false);
    assert.equal((await about()).assignment?.outcome, 'failed');
  });
});
