/** What each installer needs of the settings. */
import { isAbsolute } from 'node:path';

import { invalid, missing, type LoadedSettings } from './config-problem.ts';
import type { Settings } from './settings.ts';

interface AbSlotRules {
  readonly type: 'ab-slot';
  readonly slotA: string;
  readonly slotB: string;
  readonly marker: string;
  readonly bootedFile: string;
  readonly tries: number;
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

function treeRules(loaded: LoadedSettings): Omit<DirectoryRules, 'type'> {
  const { max_unpacked, max_entries, allow_setuid } = loaded.settings.installer;
  return {
    path: need(loaded, 'path'),
    maxBytes: max_unpacked,
    maxEntries: max_entries,
    allowSetuid: allow_setuid,
  };
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
