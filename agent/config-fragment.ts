/** One configuration file: from TOML to checked values, each with the line it is written on. */
import { parse, TomlDate, TomlError, type TomlTable } from 'smol-toml';

import type { Fragment } from './config-files.ts';
import {
  COMPONENT,
  COMPONENT_KEYS,
  KEYS,
  nearestComponentKey,
  nearestKey,
  nearestTable,
  TABLES,
  typeOf,
  type KeySpec,
} from './config-keys.ts';
import { keyText, locateKeys } from './config-lines.ts';
import { OtaError } from './errors.ts';

export interface Written {
  readonly spec: KeySpec;
  /** As in the file: not yet decoded. */
  readonly value: unknown;
  readonly line: number;
}

/** One `[[component]]`, as in the file. */
export interface WrittenComponent {
  readonly serial: string;
  /** Its table, checked and not yet decoded. */
  readonly value: Readonly<Record<string, unknown>>;
  /** By key within it, such as `installer.path`. */
  readonly lines: ReadonlyMap<string, number>;
}

export interface WrittenFragment {
  readonly keys: readonly Written[];
  readonly components: readonly WrittenComponent[];
}

/**
 * Every key of one file, in the file's order.
 *
 * A value is never part of a message: what was mistyped may be a secret in the wrong place.
 *
 * @throws OtaError CONFIG_INVALID for the first mistake; `line` is 0 where it is not known
 */
export function readFragment(fragment: Fragment): WrittenFragment {
  const { [COMPONENT]: components, ...tables } = parseDocument(fragment);
  const lines = locateKeys(fragment.text);
  const lineOf = (key: string): number => lines.get(key) ?? 0;
  const refuse = (key: string, problem: string, remedy: string): OtaError<'CONFIG_INVALID'> =>
    new OtaError('CONFIG_INVALID', {
      file: fragment.file,
      line: lineOf(key),
      key,
      problem,
      remedy,
    });

  const readTable = ([table, keys]: [string, unknown]): readonly Written[] => {
    if (!isTable(keys) || !TABLES.has(table)) throw notATable(table, keys, refuse);
    return Object.entries(keys).map(([name, value]) => {
      const key = keyText([table, name]);
      const spec = KEYS.get(key);
      if (spec === undefined) throw unknown(key, nearestKey(key), refuse);
      const problem = problemOf(spec, value);
      if (problem !== undefined) throw refuse(key, problem, `correct ${key}`);
      return { spec, value, line: lineOf(key) };
    });
  };
  return {
    keys: Object.entries(tables).flatMap(readTable),
    components: readComponents(components, lines, refuse),
  };
}

function readComponents(
  written: unknown,
  lines: ReadonlyMap<string, number>,
  refuse: Refuse,
): readonly WrittenComponent[] {
  if (written === undefined) return [];
  if (!Array.isArray(written)) {
    const problem = `wants a list of tables, got ${kindOf(written)}`;
    throw refuse(COMPONENT, problem, `write [[${COMPONENT}]] above its keys`);
  }
  return written.map((value: unknown, index) => {
    const name = `${COMPONENT}[${String(index)}]`;
    if (!isTable(value)) throw refuse(name, `wants a table, got ${kindOf(value)}`, 'correct it');
    const found = new Map<string, number>([['', lines.get(name) ?? 0]]);
    for (const [key, one] of componentKeys(value)) {
      const at = `${name}.${key}`;
      const spec = COMPONENT_KEYS.get(`${COMPONENT}.${key}`);
      if (spec === undefined) throw unknown(at, nearestComponentKey(`${COMPONENT}.${key}`), refuse);
      const problem = problemOf(spec, one);
      if (problem !== undefined) throw refuse(at, problem, `correct ${spec.key}`);
      found.set(key, lines.get(at) ?? 0);
    }
    for (const key of ['serial', 'hardware_id']) {
      if (!found.has(key)) throw refuse(name, `has no ${key}`, `add ${key} = "…" to it`);
    }
    return { serial: String(value['serial']), value, lines: found };
  });
}

/** With `installer` replaced by what is in it. */
function componentKeys(value: Readonly<Record<string, unknown>>): readonly [string, unknown][] {
  return Object.entries(value).flatMap(([name, one]): [string, unknown][] => {
    if (name !== 'installer' || !isTable(one)) return [[keyText([name]), one]];
    return Object.entries(one).map(([key, inner]) => [keyText([name, key]), inner]);
  });
}

type Refuse = (key: string, problem: string, remedy: string) => OtaError<'CONFIG_INVALID'>;

function parseDocument({ file, text }: Fragment): TomlTable {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const [problem = ''] = cause.message
      .replace('Invalid TOML document: ', 'not TOML: ')
      .split('\n');
    const remedy = 'correct the syntax; https://toml.io shows it';
    const details = { file, line: cause.line, key: '', problem, remedy };
    // Without `cause`, which quotes the line: there may be a secret in it.
    throw new OtaError('CONFIG_INVALID', details);
  }
}

function notATable(table: string, value: unknown, refuse: Refuse): OtaError<'CONFIG_INVALID'> {
  const key = keyText([table]);
  if (TABLES.has(table)) {
    return refuse(key, `wants a table, got ${kindOf(value)}`, `write [${table}] above its keys`);
  }
  return unknown(key, isTable(value) ? nearestTable(table) : nearestKey(table), refuse);
}

function unknown(key: string, nearest: string, refuse: Refuse): OtaError<'CONFIG_INVALID'> {
  return refuse(
    key,
    'is not a known key',
    `did you mean ${nearest}? See ota-agent config reference`,
  );
}

function problemOf(spec: KeySpec, value: unknown): string | undefined {
  const { error } = spec.schema.safeParse(value);
  const [issue] = error?.issues ?? [];
  if (issue === undefined) return undefined;
  if (issue.code === 'custom') return issue.message;
  return `wants ${typeOf(spec)}, got ${kindOf(value)}`;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return kindOf(value) === 'a table';
}

function kindOf(value: unknown): string {
  if (typeof value === 'string') return 'another text';
  if (typeof value === 'number') return Number.isInteger(value) ? 'a whole number' : 'a number';
  if (typeof value === 'boolean') return String(value);
  if (value instanceof TomlDate) return 'a date';
  return Array.isArray(value) ? 'a list' : 'a table';
}
