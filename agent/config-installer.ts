/** What each installer needs of the settings. */
import { join } from 'node:path';

import { invalid, missing, type LoadedSettings } from './config-problem.ts';
import { readSwupdate, type SwupdateRules } from './config-swupdate.ts';
import type { Settings } from './settings.ts';

interface AbSlotRules {
  readonly type: 'ab-slot';
  readonly slotA: string;
  readonly slotB: string;
  readonly marker: string;
  readonly bootedFile: string;
  readonly tries: number;
}

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

export type InstallerSettings =
  | { readonly type: 'file'; readonly path: string }
  | AbSlotRules
  | RaucRules
  | SwupdateRules
  | OstreeRules;

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
