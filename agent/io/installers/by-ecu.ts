/** The Installers port: which installer serves which ECU of this device. */
import { OtaError } from '../../errors.ts';
import type { Installer, Installers } from '../../ports.ts';

/**
 * @param components - by serial
 * @param primarySerial - `undefined` before the device is provisioned: then every other ECU is it
 */
export function installersOf(
  primary: Installer,
  components: ReadonlyMap<string, Installer>,
  primarySerial: string | undefined,
): Installers {
  return {
    of: (ecu) => {
      const component = components.get(ecu);
      if (component !== undefined) return component;
      if (primarySerial === undefined || ecu === primarySerial) return primary;
      const cause =
        'no [[component]] of the configuration has this serial: add it, or provision anew';
      throw new OtaError('INSTALL_FAILED', { installer: '', ecu, cause });
    },
  };
}
