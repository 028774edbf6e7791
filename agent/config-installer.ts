/** What each installer needs of the settings. */
import { isAbsolute, join } from 'node:path';

import { invalid, missing, type LoadedSettings } from './config-problem.ts';
import { readSwupdate, type SwupdateRules } from './config-swupdate.ts';
import { isOtaError, OtaError } from './errors.ts';
import type { Settings } from './settings.ts';

interface AbSlotRules {
  readonly type: 'ab-slot';
  readonly slotA: string;
  readonly slotB: string;
  readonly slotBytes: number | undefined;
  readonly choice: BootChoiceRules;
  /** Unset: the kernel command line says it. */
  readonly bootedFile: string | undefined;
  readonly tries: number;
  /** What the slots hold, for boot loaders that keep no such thing. */
  readonly record: string;
}

export type BootChoiceRules =
  | { readonly at: 'marker'; readonly path: string }
  | {
      readonly at: 'uboot';
      readonly config: string;
      readonly convention: Settings['installer']['uboot_convention'];
    }
  | { readonly at: 'grub'; readonly environment: string }
  | { readonly at: 'systemd-boot'; readonly entries: string };

interface RaucRules {
  readonly type: 'rauc';
  /** The system bus where `undefined`. */
  readonly busAddress: string | undefined;
  readonly systemConf: string;
  readonly recordPath: string;
  readonly callTimeoutMs: number;
  readonly installTimeoutMs: number;
}

interface OstreeRules {
  readonly type: 'ostree';
  readonly sysroot: string;
  readonly os: string;
  readonly url: string;
  readonly remote: string;
  readonly kernelArguments: readonly string[];
  readonly finalize: 'now' | 'shutdown';
  readonly maxPullBytes: number;
  readonly timeoutMs: number;
}

interface DirectoryRules {
  readonly type: 'directory';
  readonly path: string;
  readonly maxBytes: number;
  readonly maxEntries: number;
  readonly allowSetuid: boolean;
}

interface CommandRules {
  readonly type: 'command';
  readonly command: readonly string[];
  readonly timeoutMs: number;
}

interface ComposeRules extends Omit<DirectoryRules, 'type'> {
  readonly type: 'compose';
  readonly engine: 'podman' | 'docker';
  readonly composeCommand: readonly string[];
  readonly project: string;
  readonly timeoutMs: number;
  readonly healthMs: number;
}

export type InstallerSettings =
  | { readonly type: 'file'; readonly path: string }
  | AbSlotRules
  | RaucRules
  | SwupdateRules
  | OstreeRules
  | DirectoryRules
  | CommandRules
  | ComposeRules;

type Key = keyof Settings['installer'];
type Read = (loaded: LoadedSettings) => InstallerSettings;

/** A row for each `installer.type`. */
const READERS: Readonly<Record<InstallerSettings['type'], Read>> = {
  file: (loaded) => ({ type: 'file', path: need(loaded, 'path') }),
  directory: (loaded) => ({ type: 'directory', ...treeRules(loaded) }),
  compose: (loaded) => {
    const { engine, compose_command, project, tool_timeout, health_timeout } =
      loaded.settings.installer;
    const byDefault = { podman: ['podman-compose'], docker: ['docker', 'compose'] }[engine];
    return {
      type: 'compose',
      ...treeRules(loaded),
      engine,
      composeCommand: compose_command.length > 0 ? compose_command : byDefault,
      project,
      timeoutMs: tool_timeout,
      healthMs: health_timeout,
    };
  },
  command: (loaded) => {
    const { tool_timeout } = loaded.settings.installer;
    const command = need(loaded, 'command');
    if (!isAbsolute(command[0] ?? '')) {
      throw invalid(loaded, 'installer.command', {
        problem: 'does not begin with the absolute path of a program',
        remedy: 'write it out, as in ["/usr/lib/my-installer"]: no shell looks for it',
      });
    }
    return { type: 'command', command, timeoutMs: tool_timeout };
  },
  'ab-slot': (loaded) => {
    const { installer, storage } = loaded.settings;
    const rules = {
      type: 'ab-slot',
      slotA: need(loaded, 'slot_a'),
      slotB: need(loaded, 'slot_b'),
      slotBytes: installer.slot_size,
      choice: bootChoice(loaded),
      bootedFile: installer.booted_file,
      tries: installer.tries,
      record: join(storage.path, 'slots'),
    } as const;
    // Two names for one path would overwrite what runs.
    refuseSamePath(loaded, ['slot_a', 'slot_b', 'marker', 'grub_environment', 'booted_file']);
    return rules;
  },
  rauc: ({ settings: { installer, storage } }) => ({
    type: 'rauc',
    busAddress: installer.rauc_bus,
    systemConf: installer.rauc_system_conf,
    recordPath: join(storage.path, 'rauc-slots.json'),
    callTimeoutMs: installer.rauc_call_timeout,
    installTimeoutMs: installer.rauc_install_timeout,
  }),
  swupdate: (loaded) => readSwupdate(loaded, (name) => need(loaded, name)),
  ostree: (loaded) => {
    const { installer } = loaded.settings;
    return {
      type: 'ostree',
      sysroot: installer.ostree_sysroot,
      os: need(loaded, 'ostree_os'),
      url: treehubUrl(loaded),
      remote: installer.ostree_remote,
      kernelArguments: installer.ostree_kargs,
      finalize: installer.ostree_finalize,
      maxPullBytes: installer.ostree_max_pull,
      timeoutMs: installer.ostree_timeout,
    };
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

/** Without a slash at the end. */
function treehubUrl(loaded: LoadedSettings): string {
  const { gateway, installer } = loaded.settings;
  const own = installer.ostree_url?.replace(/\/+$/u, '');
  if (own !== undefined) return own;
  if (gateway.url !== undefined) return `${gateway.url.replace(/\/+$/u, '')}/treehub`;
  throw missing(loaded, 'installer.ostree_url', 'there is no gateway.url for it to be below');
}

function bootChoice(loaded: LoadedSettings): BootChoiceRules {
  const { installer } = loaded.settings;
  const at = installer.boot_choice;
  switch (at) {
    case 'marker':
      return { at, path: need(loaded, 'marker') };
    case 'uboot':
      return { at, config: installer.uboot_config, convention: installer.uboot_convention };
    case 'grub':
      return { at, environment: installer.grub_environment };
    case 'systemd-boot':
      return { at, entries: installer.loader_entries };
  }
}

function treeRules(loaded: LoadedSettings): Omit<DirectoryRules, 'type'> {
  const { max_unpacked, max_entries, allow_setuid } = loaded.settings.installer;
  return {
    path: need(loaded, 'path'),
    maxBytes: max_unpacked,
    maxEntries: max_entries,
    allowSetuid: allow_setuid,
  };
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
    return { serial, hardwareId, installer: installerIn(loaded, name, component) };
  });
}

/** Reads a component's `installer` as if it were the device's, and says of mistakes where they are. */
function installerIn(
  loaded: LoadedSettings,
  name: string,
  { serial, installer }: Settings['component'][number],
): InstallerSettings {
  const prefix = `${name}.`;
  const own = [...loaded.origins].filter(([key]) => key.startsWith(prefix) || key === name);
  const origins = new Map(
    own.map(([key, at]) => [`installer.${key.slice(`${prefix}installer.`.length)}`, at]),
  );
  try {
    const own = { ...loaded, origins, settings: { ...loaded.settings, installer } };
    return withOwnRecord(requireInstaller(own), serial);
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

/** Two installers must not note into one file what each has installed. */
function withOwnRecord(rules: InstallerSettings, serial: string): InstallerSettings {
  const suffix = `-${encodeURIComponent(serial)}`;
  switch (rules.type) {
    case 'ab-slot':
      return { ...rules, record: rules.record + suffix };
    case 'rauc':
    case 'swupdate':
      return { ...rules, recordPath: rules.recordPath + suffix };
    default:
      return rules;
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
    if (path === undefined) continue;
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
