/** A Director with two updates behind it, one device that faults strike, and one that they leave alone. */
import { randomBytes } from 'node:crypto';

import type { FaultName } from '../director/faults.ts';
import type { Parameters } from '../director/faults/row.ts';
import type { SimulatedDevice } from '../director/simulated/device.ts';
import { publishImage, startFixture, type Fixture } from './director-fixture.ts';

export const IMAGE = '/repo/targets/fw-2.bin';

export interface FaultFixture extends Fixture {
  readonly device: SimulatedDevice;
  readonly other: SimulatedDevice;
  /** Of {@link IMAGE}. */
  readonly content: Buffer;
  /** Acts while a fault strikes `device` alone. */
  during<T>(name: FaultName, parameters: Parameters, act: () => Promise<T>): Promise<T>;
}

export async function startFaultFixture(): Promise<FaultFixture> {
  const fixture = await startFixture({ keyType: 'rsa-2048' });
  const { director } = fixture;
  const device = await fixture.newDevice('victim');
  const other = await fixture.newDevice('bystander');
  for (const one of [device, other]) await one.register();
  const content = randomBytes(4096);
  for (const filename of ['fw-1.bin', 'fw-2.bin']) {
    await publishImage(fixture, filename, filename === 'fw-2.bin' ? content : randomBytes(10));
    for (const one of [device, other]) {
      await director.assign(one.id, filename);
      await one.get('/director/targets.json');
    }
  }
  return {
    ...fixture,
    device,
    other,
    content,
    during: async (name, parameters, act) => {
      await director.fault(name, 'on', { device: device.id, parameters });
      try {
        return await act();
      } finally {
        await director.fault(name, 'off', { device: device.id });
      }
    },
  };
}
