/** What installing in a service of its own needs of the settings. */
import { invalid, missing, type LoadedSettings } from './config-problem.ts';
import { requireComponents, requireInstaller } from './config-installer.ts';

/** Who is installed on, by the configuration alone: what the agent says of itself may be a lie. */
export interface Separation {
  readonly socket: string;
  readonly storage: string;
  /** Root metadata that trust starts from: Director, Image repository. */
  readonly roots: readonly [string, string];
  /** The Primary first. */
  readonly ecus: readonly { readonly serial: string; readonly hardwareId: string }[];
}

/**
 * @returns `undefined` where the agent installs itself
 * @throws OtaError CONFIG_INVALID if the installer could not know what it verifies against
 */
export function readSeparation(loaded: LoadedSettings): Separation | undefined {
  const { ecu, separation, uptane } = loaded.settings;
  if (!separation.installer) return undefined;
  const why =
    'separation.installer = true needs it: the installer believes nothing that it is told';
  if (ecu.serial === undefined) throw missing(loaded, 'ecu.serial', why);
  if (ecu.hardware_id === undefined) throw missing(loaded, 'ecu.hardware_id', why);
  if (uptane.roots === undefined) throw missing(loaded, 'uptane.roots', why);
  const components = requireComponents(loaded);
  const types = [requireInstaller(loaded), ...components.map(({ installer }) => installer)];
  if (types.some(({ type }) => type === 'ostree')) {
    const problem = 'pulls over the network, which the installer has not';
    const remedy = 'set separation.installer = false, or another type';
    throw invalid(loaded, 'installer.type', { problem, remedy });
  }
  const primary = { serial: ecu.serial, hardwareId: ecu.hardware_id };
  const [director, image] = uptane.roots;
  return {
    socket: separation.socket,
    storage: separation.storage,
    roots: [director, image],
    ecus: [primary, ...components.map(({ serial, hardwareId }) => ({ serial, hardwareId }))],
  };
}
