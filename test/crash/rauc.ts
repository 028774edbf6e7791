/** RAUC: its D-Bus runs while the device does, and starts its service. */
import { RaucInstaller } from '../../agent/io/installers/rauc/installer.ts';
import { makeBundle, makeVendor } from '../support/rauc-bundle.ts';
import { RaucDevice, raucProblem, TRIES } from '../support/rauc-device.ts';
import { PRIMARY } from '../support/uptane-world.ts';
import { whichIs, type Scenario } from './scenario.ts';

const SLOT_BYTES = 1024 * 1024;
const IMAGE = Buffer.alloc(SLOT_BYTES, 'new image ');

export const rauc: Scenario = {
  ecus: [PRIMARY],
  problem: raucProblem,
  prepare: (directory) => {
    const vendor = makeVendor(directory, 'vendor');
    const factory = Buffer.alloc(SLOT_BYTES, 'factory image ');
    new RaucDevice(directory, { keyring: vendor.certificate, factory });
    const content = makeBundle(directory, vendor, { image: IMAGE });
    return [{ ecu: PRIMARY, content, filename: 'update.raucb' }];
  },
  start: async (directory) => {
    const device = new RaucDevice(directory);
    await device.startBus();
    return { env: {}, stop: () => device.close() };
  },
  open: (directory) => new RaucInstaller(new RaucDevice(directory).settings),
  boot: (directory) => {
    new RaucDevice(directory).boot();
  },
  boots: Number(TRIES),
  running: (directory) => whichIs(new RaucDevice(directory).running(), IMAGE),
};
