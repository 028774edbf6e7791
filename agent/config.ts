/**
 * Reads the configuration: fragments of TOML, checked and merged into frozen settings.
 *
 * What is known about keys is in `settings.ts`; how keys depend on each other in `config-rules.ts`.
 */
import { readFragments, SYSTEM_DIRECTORIES } from './config-files.ts';
import { readKeys, type Written } from './config-fragment.ts';
import type { LoadedSettings, Origin } from './config-problem.ts';
import { checkTogether } from './config-rules.ts';
import { applyTokenUri } from './config-token-uri.ts';
import { settingsSchema, type Settings } from './settings.ts';

export type { Settings } from './settings.ts';

export interface ConfigPaths {
  /** `--config` values in order: files, or directories of fragments. */
  readonly config: readonly string[];
  /** Directories that may be absent; by default the system's. */
  readonly roots?: readonly string[];
}

/**
 * Reads and checks the whole configuration.
 *
 * Every file must be right, even a value that a later file overrides: it would come back to life
 * the day the later one is removed.
 *
 * @throws OtaError CONFIG_INVALID with file, line, key and remedy for the first mistake
 * @throws OtaError FILE_UNREADABLE
 */
export async function loadSettings(paths: ConfigPaths): Promise<LoadedSettings> {
  const fragments = await readFragments(paths.roots ?? SYSTEM_DIRECTORIES, paths.config);
  const values = new Map<string, Written>();
  const origins = new Map<string, Origin>();
  for (const fragment of fragments) {
    for (const written of readKeys(fragment)) {
      const { key } = written.spec;
      values.set(key, written);
      // Removed first, so that the map's order is the order of writing.
      origins.delete(key);
      origins.set(key, { file: fragment.file, line: written.line });
    }
  }
  applyTokenUri(values, origins);
  const loaded = { settings: decode(values), origins, files: fragments.map(({ file }) => file) };
  checkTogether(loaded);
  return loaded;
}

function decode(values: ReadonlyMap<string, Written>): Settings {
  const tables = new Map<string, Map<string, unknown>>();
  for (const { spec, value } of values.values()) {
    const table = tables.get(spec.table) ?? new Map<string, unknown>();
    tables.set(spec.table, table.set(spec.name, value));
  }
  const written = [...tables].map(([table, keys]) => [table, Object.fromEntries(keys)]);
  return freeze(settingsSchema.parse(Object.fromEntries(written)));
}

function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) freeze(inner as object);
  }
  return Object.freeze(value);
}
