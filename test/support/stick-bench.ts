/** A device for whole cycles, and a stick for it with one lockbox. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';

import { hashesOf } from './build-metadata.ts';
import { TestDevice } from './cycle-device.ts';
import { Stick } from './stick.ts';
import { imageTarget, PRIMARY } from './uptane-world.ts';

export interface StickBench {
  readonly device: TestDevice;
  readonly stick: Stick;
  /** Where it is mounted. */
  readonly at: string;
  /** A new release, on the stick as the next version of its lockbox. */
  readonly release: (image: string) => void;
}

/** The gateway is down until a test says otherwise. */
export async function withStick(act: (bench: StickBench) => Promise<void>): Promise<void> {
  const device = new TestDevice();
  device.outside.gateway = 'down';
  try {
    const stick = new Stick(device.world);
    stick.publishRoot();
    const at = join(device.directory.path, 'stick');
    const release = (image: string): void => {
      device.world.image.targets[image] = imageTarget(image, [PRIMARY]);
      device.world.image.publish();
      stick.pack('box', [image], [PRIMARY.hardwareId]);
      rmSync(at, { recursive: true, force: true });
      stick.write().writeTo(at);
    };
    release('fw-2');
    await act({ device, stick, at, release });
  } finally {
    await device.close();
  }
}

export const imageAt = (at: string, content: string): string =>
  join(at, 'images', hashesOf(content).sha256);
