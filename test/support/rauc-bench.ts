/** What every test of the `rauc` installer needs: a vendor, bundles, and devices on which the factory's image runs. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { RaucInstaller } from '../../agent/io/installers/rauc/installer.ts';
import type { TrustedTarget } from '../../agent/uptane/plan.ts';
import type { Running } from '../contract/installer.contract.ts';
import { makeBundle, makeVendor, type BundleParts, type Vendor } from './rauc-bundle.ts';
import { RaucDevice, type RaucOptions } from './rauc-device.ts';
import { targetFor } from './targets.ts';

const SLOT_BYTES = 1024 * 1024;
const FACTORY = Buffer.alloc(SLOT_BYTES, 'factory image ');
const UPDATE = Buffer.alloc(SLOT_BYTES, 'new image ');

/** A bundle that lies where the agent stages it. */
export interface Staged {
  readonly target: TrustedTarget;
  readonly path: string;
  readonly content: Buffer;
}

export class RaucBench {
  readonly directory: string;
  readonly vendor: Vendor;
  readonly update: Staged;

  constructor(directory: string) {
    this.directory = directory;
    this.vendor = makeVendor(directory, 'vendor');
    this.update = this.stage({});
  }

  stage(parts: Partial<BundleParts>, vendor = this.vendor): Staged {
    return this.keep(makeBundle(this.directory, vendor, { image: UPDATE, ...parts }));
  }

  /** Stages any bytes. */
  keep(content: Buffer): Staged {
    const path = join(mkdtempSync(join(this.directory, 'staged-')), 'bundle');
    writeFileSync(path, content);
    return { target: targetFor(content), path, content };
  }

  async open(changes: Partial<RaucOptions> = {}, directory?: string): Promise<Device> {
    const path = directory ?? mkdtempSync(join(this.directory, 'device-'));
    const keyring = this.vendor.certificate;
    const device = new Device(path, { keyring, factory: FACTORY, ...changes });
    await device.startBus();
    return device;
  }
}

export class Device extends RaucDevice {
  installer = new RaucInstaller(this.settings);

  /** An agent that has just been started. */
  restartAgent(): RaucInstaller {
    this.installer = new RaucInstaller(this.settings);
    return this.installer;
  }

  runs(): Running {
    const slot = this.running().subarray(0, SLOT_BYTES);
    if (slot.equals(UPDATE)) return 'update';
    if (slot.equals(FACTORY)) return 'factory';
    return `neither: ${slot.subarray(0, 32).toString('latin1')}`;
  }
}

/** For `write`, which tells how far it is. */
export const silent = (): void => undefined;
