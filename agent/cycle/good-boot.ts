/** A boot of an image that was confirmed long ago, and of which the boot loader has to hear, too. */
import { isOtaError } from '../errors.ts';
import type { LocalPorts } from '../ports.ts';

/** An installer that does not answer is logged: it must not keep a device from its reports. */
export async function noteGoodBoot({ installers, reporter, store }: LocalPorts): Promise<void> {
  for (const { serial } of await store.inventory()) {
    try {
      await installers.of(serial).noteGoodBoot?.();
    } catch (error) {
      if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
      reporter.refused(error);
    }
  }
}
