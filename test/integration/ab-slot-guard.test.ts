/** The slot that runs is never written, whatever names lead to it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import fc from 'fast-check';

import { isOtaError } from '../../agent/errors.ts';
import { attachDisk, download, ignore, openAbSlot } from '../support/ab-slot.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { attachLoop, detachLoop, loopProblem } from '../support/loop-device.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DISK_BYTES = 1024 * 1024;
const IMAGE = Buffer.alloc(10_000, 'new');

/** A name of a piece of storage: which one, and how it is reached. */
interface Name {
  readonly storage: number;
  readonly by: (typeof WAYS)[number];
}

const WAYS = [
  'path',
  'symlink',
  'chain',
  'hard-link',
  'parent',
  'loop',
  'second-loop',
  'node',
] as const;
const STORAGES = [0, 1, 2] as const;
/** Holds a mounted file system. */
const MOUNTED = 2;

const noLoop = loopProblem();

describe('the slot that runs', { skip: noLoop ?? false }, () => {
  const directory = temporaryDirectory('guard');
  const at = (...names: string[]): string => join(directory.path, ...names);
  const loops: string[] = [];
  const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };

  const file = (storage: number): string => at('disks', `disk-${String(storage)}`);
  const nameOf = ({ storage, by }: Name): string => {
    switch (by) {
      case 'path':
        return file(storage);
      case 'parent':
        return `${at('disks')}/../disks/disk-${String(storage)}`;
      case 'loop':
        return loops[storage * 2] ?? '';
      case 'second-loop':
        return loops[storage * 2 + 1] ?? '';
      default:
        return at(`${by}-${String(storage)}`);
    }
  };

  before(() => {
    mkdirSync(at('disks'));
    mkdirSync(at('mnt'));
    for (const storage of STORAGES) {
      loops.push(attachDisk(file(storage), DISK_BYTES, Buffer.from(`disk ${String(storage)}`)));
      loops.push(attachLoop(file(storage)));
      symlinkSync(file(storage), at(`symlink-${String(storage)}`));
      symlinkSync(at(`symlink-${String(storage)}`), at(`chain-${String(storage)}`));
      linkSync(file(storage), at(`hard-link-${String(storage)}`));
      const minor = statSync(loops[storage * 2] ?? '').rdev & 0xff;
      execFileSync('mknod', [at(`node-${String(storage)}`), 'b', '7', String(minor)]);
    }
    execFileSync('mkfs.ext2', ['-q', loops[MOUNTED * 2] ?? '']);
    // Read-only: else the kernel notes in it that it is mounted, and writes that when it likes.
    execFileSync('mount', ['-o', 'ro', loops[MOUNTED * 2] ?? '', at('mnt')]);
  });
  after(() => {
    execFileSync('umount', [at('mnt')]);
    for (const device of loops) detachLoop(device);
    directory.remove();
  });

  const refusal = async (running: Name, other: Name, booted: 'a' | 'b'): Promise<string> => {
    const [own, idle] = [nameOf(running), nameOf(other)];
    const slots = booted === 'a' ? { a: own, b: idle } : { a: idle, b: own };
    writeFileSync(board.booted, booted);
    const installer = openAbSlot(slots, board);
    const target = targetFor(IMAGE);
    try {
      await installer.receive(target, (offset) => download(IMAGE, offset), ignore);
      await installer.prove(target, ignore);
      return '';
    } catch (error) {
      assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED', String(error));
      return error.details.cause;
    }
  };

  test('keeps every byte in every configuration, and so does what is mounted', async () => {
    const name = fc.record({ storage: fc.constantFrom(...STORAGES), by: fc.constantFrom(...WAYS) });
    const booted = fc.constantFrom('a', 'b');
    await fc.assert(
      fc.asyncProperty(name, name, booted, async (running, other, slot) => {
        const before = readFileSync(file(running.storage));
        const mounted = readFileSync(file(MOUNTED));
        const cause = await refusal(running, other, slot);
        assert.ok(readFileSync(file(running.storage)).equals(before), 'the running slot changed');
        assert.ok(readFileSync(file(MOUNTED)).equals(mounted), 'what is mounted changed');
        if (other.storage === running.storage) assert.match(cause, /which runs: give each slot/u);
        else if (other.storage === MOUNTED) assert.match(cause, /is mounted at .*mnt: /u);
        else assert.equal(cause, '');
      }),
      { numRuns: 150 },
    );
  });

  test('is told from its neighbour on the same disk', async () => {
    const disk = at('partitioned');
    writeFileSync(disk, Buffer.alloc(2 * DISK_BYTES));
    const half = ['--sizelimit', String(DISK_BYTES)];
    const first = attachLoop(disk, ...half);
    const second = attachLoop(disk, '-o', String(DISK_BYTES), ...half);
    loops.push(first, second);
    writeFileSync(board.booted, 'a');
    const target = targetFor(IMAGE);
    const neighbours = openAbSlot({ a: first, b: second }, board);
    await neighbours.receive(target, () => download(IMAGE), ignore);
    await neighbours.prove(target, ignore);
    const whole = openAbSlot({ a: first, b: disk }, board);
    await rejectsCode(whole.check(target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${disk} is the storage of ${first}, which runs: give each slot storage of its own in installer.slot_a and installer.slot_b`,
    });
  });

  test('an image larger than its block device is refused before it is downloaded', async () => {
    writeFileSync(board.booted, 'a');
    const slots = { a: nameOf({ storage: 0, by: 'loop' }), b: nameOf({ storage: 1, by: 'node' }) };
    const neededBytes = DISK_BYTES + 1;
    const large = targetFor(IMAGE, { lengthBytes: neededBytes });
    await rejectsCode(openAbSlot(slots, board).check(large), 'SPACE_INSUFFICIENT', {
      path: slots.b,
      neededBytes,
      freeBytes: DISK_BYTES,
    });
  });

  test('a device that somebody else holds is not written', async () => {
    const device = nameOf({ storage: 1, by: 'loop' });
    writeFileSync(board.booted, 'a');
    const slots = { a: nameOf({ storage: 0, by: 'path' }), b: device };
    const cause = `${device} is in use: it is mounted, or part of another device`;
    // Mounted where this process does not see it.
    execFileSync('mkfs.ext2', ['-q', device]);
    const hidden = `mount ${device} ${at('mnt')} && echo mounted && cat >/dev/null`;
    const { spawn } = await import('node:child_process');
    const holder = spawn('unshare', ['-m', 'sh', '-c', hidden], { stdio: 'pipe' });
    try {
      await new Promise((resolve) => holder.stdout.once('data', resolve));
      await rejectsCode(
        openAbSlot(slots, board).receive(targetFor(IMAGE), () => download(IMAGE), ignore),
        'INSTALL_FAILED',
        { installer: 'ab-slot', ecu: 'ecu-1', cause },
      );
    } finally {
      holder.stdin.end();
      await new Promise((resolve) => holder.once('exit', resolve));
    }
  });
});

test('one storage under two names is refused without root as well', async () => {
  const directory = temporaryDirectory('guard-links');
  try {
    const at = (name: string): string => join(directory.path, name);
    writeFileSync(at('a'), 'runs');
    linkSync(at('a'), at('b'));
    writeFileSync(at('booted'), 'a');
    const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
    const installer = openAbSlot({ a: at('a'), b: at('b') }, board);
    await assert.rejects(
      installer.receive(targetFor(IMAGE), () => download(IMAGE), ignore),
      (error) => isOtaError(error) && error.code === 'INSTALL_FAILED',
    );
    assert.equal(readFileSync(at('a'), 'utf8'), 'runs');
  } finally {
    directory.remove();
  }
});
