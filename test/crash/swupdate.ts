/** SWUpdate: its daemon runs while the device does. */
import { spawnSync } from 'node:child_process';

import { makeSwu, makeSwuKey } from '../support/swu.ts';
import { SwupdateBoard } from '../support/swupdate-board.ts';
import { devicesOf, installerOn } from '../support/swupdate-installer.ts';
import { PRIMARY } from '../support/uptane-world.ts';
import { whichIs, type Scenario } from './scenario.ts';

const IMAGE = Buffer.alloc(1024 * 1024, 'new image ');

export const swupdate: Scenario = {
  ecus: [PRIMARY],
  problem: () =>
    spawnSync('swupdate', ['--version']).error === undefined
      ? undefined
      : 'swupdate is not installed',
  prepare: (directory) => {
    const vendor = makeSwuKey(directory, 'maker');
    const factory = Buffer.from('factory image');
    const board = SwupdateBoard.create(directory, factory, vendor.certificatePath);
    const attributes = 'installed-directly = true;';
    const content = makeSwu(directory, IMAGE, vendor, { devices: devicesOf(board), attributes });
    return [{ ecu: PRIMARY, content, filename: 'update.swu' }];
  },
  start: async (directory) => {
    const board = SwupdateBoard.existing(directory);
    await board.startDaemon();
    return { env: {}, stop: () => board.killDaemon() };
  },
  open: (directory) => installerOn(SwupdateBoard.existing(directory)),
  boot: (directory) => {
    SwupdateBoard.existing(directory).boot();
  },
  running: (directory) => whichIs(SwupdateBoard.existing(directory).running(IMAGE.length), IMAGE),
};
