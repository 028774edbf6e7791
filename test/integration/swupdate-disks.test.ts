/** Disks that cannot take what swupdate would write: full, too small, read-only. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { installerOn } from '../support/swupdate-installer.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { attachLoop, detachLoop } from '../support/loop-device.ts';
import {
  type Bench,
  causeOf,
  demandUntouched,
  DIRECTLY,
  IMAGE,
  NEEDS_ROOT,
  none,
  SwupdateBenches,
} from '../support/swupdate-bench.ts';

const MEBIBYTE = 1024 * 1024;

const benches = new SwupdateBenches();

describe('a disk that cannot take the image', { skip: NEEDS_ROOT }, () => {
  const loop = (
    { closeLater }: Bench,
    path: string,
    sizeBytes: number,
    ...options: string[]
  ): string => {
    writeFileSync(path, Buffer.alloc(sizeBytes));
    const device = attachLoop(path, ...options);
    closeLater(() => {
      detachLoop(device);
    });
    return device;
  };
  const mount = ({ closeLater }: Bench, path: string, options: string): void => {
    mkdirSync(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]);
    closeLater(() => execFileSync('umount', ['-l', path]));
  };
  test('an image larger than its slot is SPACE_INSUFFICIENT before a byte is written', async (t) => {
    const bench = benches.openFor(t);
    const { board, directory, make, stage } = bench;
    board.slots.b = loop(bench, join(directory, 'small'), 4 * MEBIBYTE);
    const { target, staged } = stage(make());
    await board.startDaemon();
    await rejectsCode(installerOn(board).write(target, staged, none), 'SPACE_INSUFFICIENT', {
      path: board.slots.b,
      neededBytes: IMAGE.byteLength,
      freeBytes: 4 * MEBIBYTE,
    });
    assert.ok(readFileSync(board.slots.b).equals(Buffer.alloc(4 * MEBIBYTE)));
  });

  test('an image that is too large once unpacked is refused in the words of SWUpdate, and cannot run', async (t) => {
    const bench = benches.openFor(t);
    const { board, directory, make, stage } = bench;
    board.slots.b = loop(bench, join(directory, 'small'), 4 * MEBIBYTE);
    const attributes = `${DIRECTLY} compressed = "zlib";`;
    const { target, staged } = stage(make({ image: gzipSync(IMAGE), attributes }));
    await board.startDaemon();
    const installer = installerOn(board);
    assert.match(
      await causeOf(installer.write(target, staged, none)),
      /^SWUpdate refused the image: .*(?:No space left|cannot write|Error streaming)/u,
    );
    await causeOf(installer.activate(target));
    assert.equal(board.boot(), 'a');
  });

  test('a read-only slot is refused in the words of SWUpdate', async (t) => {
    const bench = benches.openFor(t);
    const { board, directory, make, stage } = bench;
    board.slots.b = loop(bench, join(directory, 'disk'), 8 * MEBIBYTE, '--read-only');
    const { target, staged } = stage(make());
    await board.startDaemon();
    assert.match(
      await causeOf(installerOn(board).write(target, staged, none)),
      /^SWUpdate refused the image: .*Error streaming rootfs\.img/u,
    );
    assert.equal(board.boot(), 'a');
  });

  test('a full disk where SWUpdate unpacks is told in its words', async (t) => {
    const bench = benches.openFor(t);
    const { board, directory, make, stage } = bench;
    rmSync(join(directory, 'run'), { recursive: true });
    mount(bench, join(directory, 'run'), 'size=2M');
    const { target, staged } = stage(make({ attributes: '' }));
    await board.startDaemon();
    const variables = board.variables();
    assert.match(
      await causeOf(installerOn(board).write(target, staged, none)),
      /^SWUpdate refused the image: .*(?:space|No space left)/u,
    );
    demandUntouched(board, variables);
  });

  for (const [options, code] of [
    ['ro', 'EROFS'],
    ['size=4k,nr_inodes=1', 'ENOSPC'],
  ] as const) {
    test(`no record can be made on a disk that is ${code}: nothing is written to the slot`, async (t) => {
      const bench = benches.openFor(t);
      const { board, directory, make, stage } = bench;
      mount(bench, join(directory, 'state'), options);
      const { target, staged } = stage(make());
      await board.startDaemon();
      const variables = board.variables();
      const installer = installerOn(board, { recordPath: join(directory, 'state', 'slots') });
      assert.match(
        await causeOf(installer.write(target, staged, none)),
        new RegExp(`^${code}: `, 'u'),
      );
      demandUntouched(board, variables);
    });
  }
});
