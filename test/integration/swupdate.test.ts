/** The swupdate installer with the real SWUpdate: every step, and what it does with bad images. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import {
  installerContract,
  type InstallerFixture,
  type Running,
} from '../contract/installer.contract.ts';
import { makeSwu, makeSwuKey, type SwuKey } from '../support/swu.ts';
import { causeOf, none, SwupdateBenches } from '../support/swupdate-bench.ts';
import { SwupdateBoard } from '../support/swupdate-board.ts';
import { devicesOf, installerOn } from '../support/swupdate-installer.ts';
import { behindSocket } from '../support/separate-installer.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const FACTORY = Buffer.from('factory image');
const UPDATE = Buffer.alloc(1024 * 1024 + 17, 'new image ');

describe('swupdate', () => {
  const keys = temporaryDirectory('swu-keys');
  let key: SwuKey;
  before(() => {
    key = makeSwuKey(keys.path, 'vendor');
  });
  after(() => {
    keys.remove();
  });

  const swupdateDevice = async (directory: string): Promise<InstallerFixture> => {
    const board = SwupdateBoard.create(directory, FACTORY, key.certificatePath);
    const options = { devices: devicesOf(board), attributes: 'installed-directly = true;' };
    const content = makeSwu(directory, UPDATE, key, options);
    await board.startDaemon();
    return {
      installer: installerOn(board),
      target: targetFor(content, { filename: 'update.swu' }),
      content,
      running: () => whichIs(board),
      boot: () => {
        board.boot();
      },
      close: () => board.killDaemon(),
    };
  };
  installerContract('swupdate', swupdateDevice);
  installerContract('separate, swupdate', async (directory) =>
    behindSocket(directory, await swupdateDevice(directory)),
  );
});

describe('swupdate on a board that falls back', () => {
  const benches = new SwupdateBenches();

  test('a trial that is never confirmed ends on the image before it, and is said not to run', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target, staged } = stage(make());
    await board.startDaemon();
    const installer = installerOn(board);
    await installer.write(target, staged, none);
    await installer.activate(target);
    assert.equal(board.boot(), 'b');
    assert.equal(await installer.booted(target), true);
    assert.equal(board.boot(), 'b');
    assert.equal(board.boot(), 'a');
    assert.equal(await installer.booted(target), false);
    assert.match(await causeOf(installer.confirm(target)), /^update\.swu does not run$/u);
    await installer.rollBack(target);
    assert.equal(board.boot(), 'a');
  });

  test('there is no going back to a slot that an update has spoiled', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const first = stage(make());
    await board.startDaemon();
    const installer = installerOn(board);
    await installer.write(first.target, first.staged, none);
    await installer.activate(first.target);
    board.boot();
    await installer.confirm(first.target);
    const second = stage(make({ image: Buffer.alloc(3 * 1024 * 1024, 'second ') }));
    const killed = installer.write(second.target, second.staged, () => {
      board.signalDaemon('SIGKILL');
    });
    await causeOf(killed);
    assert.equal(
      await causeOf(installer.rollBack(first.target)),
      'there is no image to go back to: slot a holds none that ran',
    );
    assert.equal(board.boot(), 'b');
    assert.equal(await installer.booted(first.target), true);
  });

  test('the slot is struck from the record and the environment before its first byte changes', async (t) => {
    const { board, directory, make, stage } = benches.openFor(t);
    const { target, staged } = stage(make());
    await board.startDaemon();
    const installer = installerOn(board);
    await installer.write(target, staged, none);
    await installer.activate(target);
    const seen: unknown[] = [];
    await installer.write(target, staged, () => {
      seen.push(board.variables()['boot_slot'], readFileSync(join(directory, 'slots'), 'utf8'));
    });
    assert.deepEqual(seen.slice(0, 2), ['a', 'a good\nb writing\n']);
  });
});

function whichIs(board: SwupdateBoard): Running {
  const content = board.running(UPDATE.byteLength);
  if (content.equals(UPDATE)) return 'update';
  if (content.subarray(0, FACTORY.byteLength).equals(FACTORY)) return 'factory';
  return `neither: ${content.subarray(0, 32).toString('latin1')}`;
}
