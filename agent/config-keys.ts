/** What is known about each key, read off the settings' schema: for checks, messages and documents. */
import { closest } from 'fastest-levenshtein';
import * as z from 'zod';

import { componentSchema } from './settings-component.ts';
import { settingsSchema, type Settings } from './settings.ts';

export interface KeySpec {
  /** `table.name` */
  readonly key: string;
  readonly table: string;
  readonly name: string;
  readonly schema: z.ZodType;
}

/** There may be several of it: its keys are not settings of the whole device. */
export const COMPONENT = 'component';
const TABLE_SHAPES = Object.entries(settingsSchema.shape).flatMap(([table, schema]) =>
  schema instanceof z.ZodPrefault ? [{ table, shape: schema.unwrap().shape }] : [],
);

/** In the order of the settings' schema. */
export const KEYS: ReadonlyMap<string, KeySpec> = specsOf(
  TABLE_SHAPES.flatMap(({ table, shape }) => keysIn(table, shape)),
);

export const TABLES: ReadonlySet<string> = new Set(TABLE_SHAPES.map(({ table }) => table));

const { installer, ...ownShape } = componentSchema.shape;

/** Of one `[[component]]`: `component.serial`, `component.installer.type`, … */
export const COMPONENT_KEYS: ReadonlyMap<string, KeySpec> = specsOf([
  ...keysIn(COMPONENT, ownShape),
  ...keysIn(`${COMPONENT}.installer`, installer.unwrap().shape),
]);

function keysIn(table: string, shape: Readonly<Record<string, z.ZodType>>): readonly KeySpec[] {
  return Object.entries(shape).map(([name, schema]) => {
    return { key: `${table}.${name}`, table, name, schema };
  });
}

function specsOf(specs: readonly KeySpec[]): ReadonlyMap<string, KeySpec> {
  return new Map(specs.map((spec) => [spec.key, spec]));
}

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
  return closest(unknown, [...TABLES, COMPONENT]);
}

export function nearestComponentKey(unknown: string): string {
  return closest(unknown, [...COMPONENT_KEYS.keys()]);
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
  return written(KEYS, new Map<string, object>(Object.entries(settings)));
}

/** The same of one component. */
export function valuesOfComponent(
  one: Settings['component'][number],
): ReadonlyMap<string, unknown> {
  return written(
    COMPONENT_KEYS,
    new Map<string, object>([
      [COMPONENT, one],
      [`${COMPONENT}.installer`, one.installer],
    ]),
  );
}

function written(
  specs: ReadonlyMap<string, KeySpec>,
  byTable: ReadonlyMap<string, object>,
): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>();
  for (const { key, table, name, schema } of specs.values()) {
    const value = new Map<string, unknown>(Object.entries(byTable.get(table) ?? {})).get(name);
    if (value !== undefined) values.set(key, z.encode(schema, value));
  }
  return values;
}
