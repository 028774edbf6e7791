/** The `rauc` installer against RAUC itself, as Debian ships it. */
import { join } from 'node:path';
import { after, test } from 'node:test';

import { RaucInstaller } from '../../agent/io/installers/rauc/installer.ts';
import {
  installerContract,
  type InstallerFixture,
  type Running,
} from '../contract/installer.contract.ts';
import { makeBundle, makeVendor } from '../support/rauc-bundle.ts';
import { RaucDevice, raucProblem } from '../support/rauc-device.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const SLOT_BYTES = 1024 * 1024;
const FACTORY = Buffer.alloc(SLOT_BYTES, 'factory image ');
const UPDATE = Buffer.alloc(SLOT_BYTES, 'new image ');

const workshop = temporaryDirectory('rauc');
after(() => {
  workshop.remove();
});
const problem = raucProblem(workshop.path);
if (problem !== undefined) test('rauc', { skip: problem }, () => undefined);
else suite();

function suite(): void {
  const vendor = makeVendor(workshop.path, 'vendor');
  const content = makeBundle(workshop.path, vendor, { image: UPDATE });
  const keyring = vendor.certificate;

  const open = async (directory: string, system?: string): Promise<InstallerFixture> => {
    const device = new RaucDevice(join(directory, 'device'), {
      keyring,
      factory: FACTORY,
      ...(system === undefined ? {} : { system }),
    });
    await device.startBus();
    return {
      installer: new RaucInstaller(device.settings),
      target: targetFor(content),
      content,
      running: () => whichIs(device.running()),
      boot: () => {
        device.boot();
      },
      close: () => device.close(),
    };
  };

  installerContract('rauc', (directory) => open(directory));
  installerContract('rauc that activates what it has installed', (directory) =>
    open(directory, 'activate-installed=true'),
  );
}

function whichIs(slot: Buffer): Running {
  if (slot.equals(UPDATE)) return 'update';
  if (slot.equals(FACTORY)) return 'factory';
  return `neither: ${slot.subarray(0, 32).toString('latin1')}`;
}
