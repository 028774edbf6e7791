/** An installer that writes nothing, and an image that some devices do not bear. */
import { OtaError } from '../../agent/errors.ts';
import type { Health, StagedInstaller } from '../../agent/ports.ts';

export interface SimulatedSoftware {
  readonly installer: StagedInstaller;
  readonly health: Health;
  /** What runs now. */
  readonly image: () => string;
}

/** @param isBad - whether the device is sick while this image runs */
export function simulatedSoftware(isBad: (image: string) => boolean): SimulatedSoftware {
  let [running, before] = ['factory', 'factory'];
  return {
    image: () => running,
    health: {
      check: () =>
        isBad(running)
          ? Promise.reject(
              new OtaError('HEALTH_CHECK_FAILED', { check: 'simulated', said: `no ${running}` }),
            )
          : Promise.resolve(),
    },
    installer: {
      kind: 'simulated',
      needsReboot: false,
      takes: 'staged',
      check: () => Promise.resolve(),
      write: () => Promise.resolve(),
      activate: ({ filename }) => {
        if (running !== filename) [running, before] = [filename, running];
        return Promise.resolve();
      },
      booted: ({ filename }) => Promise.resolve(running === filename),
      confirm: () => Promise.resolve(),
      rollBack: () => {
        running = before;
        return Promise.resolve();
      },
      describe: () => Promise.resolve({ running }),
    },
  };
}
