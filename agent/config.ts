/**
 * Reads the configuration: fragments of TOML, checked and merged into frozen settings.
 *
 * What is known about keys is in `settings.ts`; how keys depend on each other in `config-rules.ts`.
 */
import { readFragments, SYSTEM_DIRECTORIES } from './config-files.ts';
import { readFragment, type Written, type WrittenComponent } from './config-fragment.ts';
import type { LoadedSettings, Origin } from './config-problem.ts';
import { COMPONENT } from './config-keys.ts';
import { checkTogether } from './config-rules.ts';
import { applyTokenUri } from './config-token-uri.ts';
import { OtaError } from './errors.ts';
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
  const components = new Map<string, PlacedComponent>();
  for (const fragment of fragments) {
    const { keys, components: more } = readFragment(fragment);
    for (const one of more) addComponent(components, one, fragment.file);
    for (const written of keys) {
      const { key } = written.spec;
      values.set(key, written);
      // Removed first, so that the map's order is the order of writing.
      origins.delete(key);
      origins.set(key, { file: fragment.file, line: written.line });
    }
  }
  applyTokenUri(values, origins);
  for (const [index, { file, lines }] of [...components.values()].entries()) {
    for (const [key, line] of lines) {
      origins.set(`${COMPONENT}[${String(index)}]${key === '' ? '' : `.${key}`}`, { file, line });
    }
  }
  const loaded = {
    settings: decode(values, components),
    origins,
    files: fragments.map(({ file }) => file),
  };
  checkTogether(loaded);
  return loaded;
}

type PlacedComponent = WrittenComponent & { readonly file: string };

/**
 * A later file may replace a component, which keeps its place: that is the order of installation.
 *
 * @throws OtaError CONFIG_INVALID if one file has the same serial twice
 */
function addComponent(
  components: Map<string, PlacedComponent>,
  one: WrittenComponent,
  file: string,
): void {
  const { serial, lines } = one;
  if (components.get(serial)?.file === file) {
    const problem = 'is the serial of another component, too';
    const line = lines.get('serial') ?? 0;
    const details = {
      file,
      line,
      key: `${COMPONENT}.serial`,
      problem,
      remedy: 'give each its own',
    };
    throw new OtaError('CONFIG_INVALID', details);
  }
  components.set(serial, { ...one, file });
}

function decode(
  values: ReadonlyMap<string, Written>,
  components: ReadonlyMap<string, PlacedComponent>,
): Settings {
  const tables = new Map<string, Map<string, unknown>>();
  for (const { spec, value } of values.values()) {
    const table = tables.get(spec.table) ?? new Map<string, unknown>();
    tables.set(spec.table, table.set(spec.name, value));
  }
  const written = [...tables].map(([table, keys]) => [table, Object.fromEntries(keys)]);
  const component = [...components.values()].map(({ value }) => value);
  return freeze(settingsSchema.parse({ ...Object.fromEntries(written), component }));
}

function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) freeze(inner as object);
  }
  return Object.freeze(value);
}
