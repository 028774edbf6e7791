/** Settings as they were loaded, and how to say what is wrong with them, and where. */
import { OtaError } from './errors.ts';
import type { Settings } from './settings.ts';

/** Where a value was written. Keys without an origin have their default. */
export interface Origin {
  readonly file: string;
  /** From 1; 0 when it is somewhere in the file. */
  readonly line: number;
}

export interface LoadedSettings {
  /** Frozen, all the way down. */
  readonly settings: Settings;
  /** By `table.name`. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** Every file that was read, in the order in which they were applied. */
  readonly files: readonly string[];
}

/** A key that is needed and not there. */
export function missing(
  loaded: LoadedSettings,
  key: string,
  why: string,
): OtaError<'CONFIG_INVALID'> {
  const [table = '', name = ''] = key.split('.');
  return invalid(loaded, key, {
    problem: `is not set, and ${why}`,
    remedy: `add ${name} = "…" to [${table}]`,
  });
}

/** Points at the key, or else at the last key written into its table, or else at the last file. */
export function invalid(
  { origins, files }: LoadedSettings,
  key: string,
  said: { problem: string; remedy: string },
): OtaError<'CONFIG_INVALID'> {
  const table = key.slice(0, key.indexOf('.') + 1);
  const neighbours = [...origins].filter(([other]) => other.startsWith(table));
  const { file, line } = origins.get(key) ??
    neighbours.at(-1)?.[1] ?? { file: files.at(-1) ?? '/etc/ota-agent/conf.d', line: 0 };
  return new OtaError('CONFIG_INVALID', { file, line, key, ...said });
}
