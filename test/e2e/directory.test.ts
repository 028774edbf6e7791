/** The daemon updates a device whose software is a tree of files behind one link. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

import { tarArchive } from '../support/tar-archive.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

describe('a device with a directory', () => {
  let world: World;
  let daemon: ChildProcess | undefined;
  let current: string;
  before(async () => {
    world = await openWorld('provisioned');
    current = join(world.directory, 'app', 'current');
    mkdirSync(join(world.directory, 'app', 'factory'), { recursive: true });
    writeFileSync(join(world.directory, 'app', 'factory', 'version'), 'factory');
    symlinkSync('factory', current);
    world.device.configure({ installer: { type: 'directory', path: current } });
  });
  after(async () => {
    if (daemon?.exitCode === null) {
      const exited = once(daemon, 'exit');
      daemon.kill('SIGKILL');
      await exited;
    }
    await world.close();
  });

  const version = (): string => readFileSync(join(current, 'version'), 'utf8');
  const release = (name: string): Buffer =>
    gzipSync(tarArchive([{ path: 'version', content: Buffer.from(name) }]));

  test('doctor says what runs, the daemon switches the tree by itself, and rollback brings back the one before', async () => {
    const doctor = await world.device.agent(['doctor']);
    assert.match(doctor.stdout, /directory: path [^"]*; link factory; runs nothing that this/u);

    await world.offer('app-2.tar.gz', release('two'));
    daemon = world.device.start(['run']);
    for (let attempt = 0; attempt < 100 && version() !== 'two'; attempt += 1) await setTimeout(100);
    assert.equal(version(), 'two');
    const exited = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);

    const back = await world.device.agent(['rollback']);
    assert.equal(back.exit, 0, said(back));
    assert.equal(version(), 'factory');
  });

  test('an archive that climbs out of its tree ends with exit 40, and what runs goes on', async () => {
    const hostile = [{ path: '../factory/version', content: Buffer.from('evil') }];
    await world.offer('app-3.tar', tarArchive(hostile));
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 40, said(result));
    assert.equal(result.json['code'], 'INSTALL_FAILED', said(result));
    assert.match(said(result), /app-3\.tar is refused: .*\.\.\/factory\/version/u);
    assert.equal(version(), 'factory');
  });
});
