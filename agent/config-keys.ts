/** What is known about each key, read off the settings' schema: for checks, messages and documents. */
import { closest } from 'fastest-levenshtein';
import { z } from 'zod';

import { settingsSchema, type Settings } from './settings.ts';

export interface KeySpec {
  /** `table.name` */
  readonly key: string;
  readonly table: string;
  readonly name: string;
  readonly schema: z.ZodType;
}

/** In the order of the settings' schema. */
export const KEYS: ReadonlyMap<string, KeySpec> = new Map(
  Object.entries(settingsSchema.shape).flatMap(([table, schemaOfTable]) =>
    Object.entries<z.ZodType>(schemaOfTable.unwrap().shape).map(
      ([name, schema]): [string, KeySpec] => {
        const key = `${table}.${name}`;
        return [key, { key, table, name, schema }];
      },
    ),
  ),
);

export const TABLES: ReadonlySet<string> = new Set(Object.keys(settingsSchema.shape));

/** The known key that was probably meant: in another table, spelled in full, or spelled rightly. */
export function nearestKey(unknown: string): string {
  const keys = [...KEYS.keys()];
  const name = unknown.slice(unknown.lastIndexOf('.') + 1);
  const inOtherTable = keys.filter((key) => KEYS.get(key)?.name === name);
  const inFull = keys.filter((key) => key.startsWith(unknown));
  const likely = [inOtherTable, inFull].find((some) => some.length > 0) ?? keys;
  return closest(unknown, likely);
}

export function nearestTable(unknown: string): string {
  return closest(unknown, [...TABLES]);
}

/** What a value of this key has to be, for a sentence with "wants". */
export function typeOf(spec: KeySpec): string {
  const { title, type, enum: choices } = z.toJSONSchema(spec.schema, { io: 'input' });
  if (choices !== undefined) return choices.map((choice) => JSON.stringify(choice)).join(' or ');
  return title ?? (type === 'boolean' ? 'true or false' : String(type));
}

/** Defaults as they would be written in a file. Keys without one are absent. */
export function defaultValues(): ReadonlyMap<string, unknown> {
  return valuesOf(settingsSchema.parse({}));
}

/** Settings as they would be written in a file, by key. Unset keys are absent. */
export function valuesOf(settings: Settings): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>();
  for (const { key, table, name, schema } of KEYS.values()) {
    const ofTable = new Map<string, object>(Object.entries(settings)).get(table) ?? {};
    const value = new Map<string, unknown>(Object.entries(ofTable)).get(name);
    if (value !== undefined) values.set(key, z.encode(schema, value));
  }
  return values;
}
