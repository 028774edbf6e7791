/** Disks that cannot take what compose would write: the agent's own, full or read-only, and podman's. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import type { StagedInstaller } from '../../agent/ports.ts';
import { compose } from '../crash/compose.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { useMemory } from '../support/ostree-device.ts';
import { podmanProblem } from '../support/podman.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { PRIMARY } from '../support/uptane-world.ts';

useMemory();

const none = (): undefined => undefined;

describe('compose on a disk that cannot take it', { skip: podmanProblem() ?? false }, () => {
  const temporary = temporaryDirectory('compose-disks');
  const device = join(temporary.path, 'device');
  /** Of podman's images and containers. */
  const storage = join(device, 'engine/root');
  const staged = join(temporary.path, 'update.tar.gz');
  const ending: (() => unknown)[] = [];
  const mount = (path: string): void => {
    mkdirSync(path, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', path]);
    ending.unshift(() => execFileSync('umount', ['-l', path]));
  };
  /** What podman leaves behind may have a file open for a while. */
  const remount = async (how: 'ro' | 'rw'): Promise<void> => {
    for (let attempt = 1; ; attempt += 1) {
      const { status, stderr } = spawnSync('mount', ['-o', `remount,${how}`, device]);
      if (status === 0) return;
      if (attempt === 200) assert.fail(stderr.toString());
      await setTimeout(100);
    }
  };
  let content: Buffer = Buffer.alloc(0);
  before(async () => {
    mount(device);
    mount(storage);
    const [update] = await compose.prepare(device);
    content = update?.content ?? content;
    writeFileSync(staged, content);
    const services = await compose.start?.(device);
    ending.unshift(() => services?.stop());
  });
  after(async () => {
    for (const end of ending) await end();
    temporary.remove();
  });

  const target = () => targetFor(content, { filename: 'app-2.tar.gz' });
  const installer = (): StagedInstaller => compose.open(device, PRIMARY.serial) as StagedInstaller;

  test('a read-only disk is an INSTALL_FAILED before the download', async () => {
    await remount('ro');
    try {
      const cause = `EROFS: read-only file system, access '${device}'`;
      const details = { installer: 'compose', ecu: 'ecu-1', cause };
      await rejectsCode(installer().check(target()), 'INSTALL_FAILED', details);
    } finally {
      await remount('rw');
    }
    await installer().check(target());
  });

  test('a full disk is SPACE_INSUFFICIENT before the download, and leaves nothing when it fills up', async () => {
    const eaten = join(device, 'eaten');
    writeFileSync(eaten, Buffer.alloc(freeOf(device) - 64 * 1024));
    try {
      const path = join(device, 'current.versions');
      const freeBytes = freeOf(device);
      const neededBytes = content.byteLength;
      const details = { path, neededBytes, freeBytes };
      await rejectsCode(installer().check(target()), 'SPACE_INSUFFICIENT', details);
      const writing = installer().write(target(), staged, none);
      await assert.rejects(writing, { code: 'SPACE_INSUFFICIENT' });
      assert.equal(freeOf(device), freeBytes);
    } finally {
      rmSync(eaten);
    }
  });

  test('podman without room for an image says so; what runs goes on running', async () => {
    const eaten = join(storage, 'eaten');
    writeFileSync(eaten, Buffer.alloc(freeOf(storage) - 256 * 1024));
    try {
      const writing = installer().write(target(), staged, none);
      await assert.rejects(writing, (error: unknown) => {
        const { code, details } = error as { code: string; details: Record<string, string> };
        assert.equal(code, 'INSTALL_FAILED');
        assert.match(details['cause'] ?? '', /no space left on device/u);
        return true;
      });
      assert.equal(await compose.running(device, PRIMARY.serial), 'old');
    } finally {
      rmSync(eaten);
    }
  });

  test('with room, the same update is installed', async () => {
    await installer().check(target());
    await installer().write(target(), staged, none);
    await installer().activate(target());
    await installer().confirm(target());
    assert.equal(await compose.running(device, PRIMARY.serial), 'new');
  });
});

function freeOf(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
