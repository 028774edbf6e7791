/** What each installer needs of the settings. */
import { invalid, missing, type LoadedSettings } from './config-problem.ts';
import { isOtaError, OtaError } from './errors.ts';
import type { Settings } from './settings.ts';

interface AbSlotRules {
  readonly type: 'ab-slot';
  readonly slotA: string;
  readonly slotB: string;
  readonly marker: string;
  readonly bootedFile: string;
  readonly tries: number;
}

export type InstallerSettings = { readonly type: 'file'; readonly path: string } | AbSlotRules;

type Key = keyof Settings['installer'];
type Read = (loaded: LoadedSettings) => InstallerSettings;

/** A row for each `installer.type`. */
const READERS: Readonly<Record<InstallerSettings['type'], Read>> = {
  file: (loaded) => ({ type: 'file', path: need(loaded, 'path') }),
  'ab-slot': (loaded) => {
    const rules = {
      type: 'ab-slot',
      slotA: need(loaded, 'slot_a'),
      slotB: need(loaded, 'slot_b'),
      marker: need(loaded, 'marker'),
      bootedFile: need(loaded, 'booted_file'),
      tries: loaded.settings.installer.tries,
    } as const;
    // Two names for one path would overwrite what runs.
    refuseSamePath(loaded, ['slot_a', 'slot_b', 'marker', 'booted_file']);
    return rules;
  },
};

/**
 * The installer with all that its type needs.
 *
 * @throws OtaError CONFIG_INVALID if something is missing, or paths that must differ are the same
 */
export function requireInstaller(loaded: LoadedSettings): InstallerSettings {
  return READERS[loaded.settings.installer.type](loaded);
}

/** A component with the installer that its table names. */
export interface ComponentRules {
  readonly serial: string;
  readonly hardwareId: string;
  readonly installer: InstallerSettings;
}

/**
 * What is installed beside the Primary's image, in that order.
 *
 * @throws OtaError CONFIG_INVALID as `requireInstaller`, and for a serial that the Primary has
 */
export function requireComponents(loaded: LoadedSettings): readonly ComponentRules[] {
  return loaded.settings.component.map((component, index) => {
    const { serial, hardware_id: hardwareId, installer } = component;
    const name = `component[${String(index)}]`;
    if (serial === loaded.settings.ecu.serial) {
      const problem = 'is the serial of the Primary, too';
      throw invalid(loaded, `${name}.serial`, { problem, remedy: 'give each its own' });
    }
    if (installer.reboot_command.length > 0) {
      const problem = 'is for the whole device';
      const remedy = 'move it to [installer]';
      throw invalid(loaded, `${name}.installer.reboot_command`, { problem, remedy });
    }
    return { serial, hardwareId, installer: installerIn(loaded, name, installer) };
  });
}

/** Reads a component's `installer` as if it were the device's, and says of mistakes where they are. */
function installerIn(
  loaded: LoadedSettings,
  name: string,
  installer: Settings['installer'],
): InstallerSettings {
  const prefix = `${name}.`;
  const own = [...loaded.origins].filter(([key]) => key.startsWith(prefix) || key === name);
  const origins = new Map(
    own.map(([key, at]) => [`installer.${key.slice(`${prefix}installer.`.length)}`, at]),
  );
  try {
    return requireInstaller({ ...loaded, origins, settings: { ...loaded.settings, installer } });
  } catch (error) {
    if (!isOtaError(error) || error.code !== 'CONFIG_INVALID') throw error;
    const { key, remedy } = error.details;
    throw new OtaError('CONFIG_INVALID', {
      ...error.details,
      key: `${name}.${key}`,
      remedy: remedy.replace('[installer]', '[component.installer]'),
    });
  }
}

function need<K extends Key>(
  loaded: LoadedSettings,
  name: K,
): NonNullable<Settings['installer'][K]> {
  const { installer } = loaded.settings;
  const value = installer[name];
  if (value !== undefined) return value;
  const why = `installer.type = "${installer.type}" needs it`;
  throw missing(loaded, `installer.${name}`, why);
}

function refuseSamePath(loaded: LoadedSettings, names: readonly Key[]): void {
  const seen = new Map<unknown, string>();
  for (const name of names) {
    const path = loaded.settings.installer[name];
    const other = seen.get(path);
    if (other !== undefined) {
      throw invalid(loaded, `installer.${name}`, {
        problem: `is the same path as installer.${other}`,
        remedy: 'give each its own',
      });
    }
    seen.set(path, name);
  }
}
