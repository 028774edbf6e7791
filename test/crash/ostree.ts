/** OSTree: a booted deployment is a mount namespace that lives while the device is switched on. */
import { delimiter, join } from 'node:path';

import { OstreeInstaller } from '../../agent/io/installers/ostree/ostree.ts';
import { canBootOstree, OstreeDevice } from '../support/ostree-device.ts';
import { DirectoryTreehub, makeOstreeRepo } from '../support/ostree-repo.ts';
import { ostreeSettings } from '../support/ostree-settings.ts';
import { PRIMARY } from '../support/uptane-world.ts';
import type { Running, Scenario } from './scenario.ts';

const RUNNING: Readonly<Record<string, Running>> = { factory: 'old', update: 'new' };

export const ostree: Scenario = {
  ecus: [PRIMARY],
  problem: () => (canBootOstree() ? undefined : 'booting a deployment needs ostree and root'),
  prepare: (directory) => {
    const repo = makeOstreeRepo(directory);
    OstreeDevice.make(directory, repo);
    const { update: commit } = repo;
    const filename = `vendor-os-${commit}`;
    return [{ ecu: PRIMARY, content: Buffer.alloc(0), filename, commit }];
  },
  start: async (directory) => {
    const device = OstreeDevice.existing(directory);
    await device.boot();
    const path = [device.bin, process.env['PATH'] ?? ''].join(delimiter);
    // Deployments could not be removed with the directory otherwise.
    const env = { PATH: path, OSTREE_SYSROOT_DEBUG: 'mutable-deployments' };
    return { env, stop: () => device.powerOff() };
  },
  open: (directory) =>
    new OstreeInstaller(
      ostreeSettings(OstreeDevice.existing(directory).sysroot),
      new DirectoryTreehub(join(directory, 'treehub')),
    ),
  // Which deployment boots is chosen where its namespace is made.
  boot: () => undefined,
  running: (directory) => RUNNING[OstreeDevice.existing(directory).running()] ?? 'neither',
};
