/** kill -9 at every system call that makes a tree durable, visible or gone. */
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';

import {
  device,
  install,
  LIMITS,
  release,
  UPDATE,
  type Device,
} from '../support/directory-board.ts';
import { runInstall } from '../support/install-process.ts';
import { targetFor } from '../support/targets.ts';

describe('power cuts of directory', () => {
  const target = targetFor(UPDATE, { filename: 'release.tar' });

  /** Kills the installation at the n-th call, for every n; `after` judges what is left. */
  const killAtEach = async (
    t: TestContext,
    call: string,
    prepare: (board: Device) => Promise<void>,
    judge: (board: Device) => Promise<void>,
  ): Promise<void> => {
    let kills = 0;
    for (let isKilled = true; isKilled; kills += isKilled ? 1 : 0) {
      const board = device(t);
      await prepare(board);
      const staged = join(board.directory, 'staged');
      writeFileSync(staged, UPDATE);
      const { signal, code, stderr } = await runInstall({
        settings: { type: 'directory', path: board.path, ...LIMITS },
        target,
        staged,
        steps: ['check', 'write', 'activate', 'confirm', 'rollBack'],
        inject: `${call}:signal=SIGKILL:when=${String(kills + 1)}`,
      });
      isKilled = signal === 'SIGKILL';
      assert.equal(code, isKilled ? null : 0, stderr);
      await judge(board);
    }
    t.diagnostic(`${String(kills)} kills`);
    assert.ok(kills >= 2, `there were only ${String(kills)} of ${call}`);
  };

  const calls = [
    ['sync', 'fsync'],
    ['renaming', '?rename,?renameat,?renameat2'],
    ['link', '?symlink,?symlinkat'],
  ] as const;
  for (const [what, call] of calls) {
    test(`killed at any ${what}, the old or the new tree runs, whole, and the next run converges`, (t) =>
      killAtEach(
        t,
        call,
        () => Promise.resolve(),
        async (board) => {
          const left = board.running();
          assert.ok(left === 'factory' || left === 'update', left);
          assert.equal(await board.installer.booted(target), left === 'update');
          await install(board, UPDATE);
          await board.installer.confirm(target);
          assert.equal(board.running(), 'update');
          assert.equal(readdirSync(`${board.path}.versions`).length, 2, 'one tree and its record');
          await board.installer.rollBack(target);
          assert.equal(board.running(), 'factory');
        },
      ));
  }

  test('killed at any removal of an old tree, the ones in use stay whole', (t) => {
    const prepare = async (board: Device): Promise<void> => {
      for (const version of ['1', '2']) await install(board, release(version));
    };
    return killAtEach(t, '?unlink,?unlinkat,?rmdir', prepare, async (board) => {
      await install(board, UPDATE);
      await board.installer.confirm(target);
      assert.equal(board.running(), 'update');
      await board.installer.rollBack(target);
      const before = targetFor(release('2'), { filename: 'release.tar' });
      assert.equal(await board.installer.booted(before), true);
      assert.equal(readdirSync(`${board.path}.versions`).length, 4, 'two trees and their records');
    });
  });
});
