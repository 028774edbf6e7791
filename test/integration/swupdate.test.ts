/** The swupdate installer with the real SWUpdate: every step, and what it does with bad images. */
import { after, before, describe } from 'node:test';

import { installerContract, type Running } from '../contract/installer.contract.ts';
import { makeSwu, makeSwuKey, type SwuKey } from '../support/swu.ts';
import { SwupdateBoard } from '../support/swupdate-board.ts';
import { devicesOf, installerOn } from '../support/swupdate-installer.ts';
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

  installerContract('swupdate', async (directory) => {
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
  });
});

function whichIs(board: SwupdateBoard): Running {
  const content = board.running(UPDATE.byteLength);
  if (content.equals(UPDATE)) return 'update';
  if (content.subarray(0, FACTORY.byteLength).equals(FACTORY)) return 'factory';
  return `neither: ${content.subarray(0, 32).toString('latin1')}`;
}
