/** The settings as documents: the JSON Schema and the table of config/README.md. */
import * as z from 'zod';

import {
  COMPONENT,
  COMPONENT_KEYS,
  defaultValues,
  KEYS,
  typeOf,
  type KeySpec,
} from './config-keys.ts';
import { settingsSchema } from './settings.ts';

/** JSON Schema 2020-12 of one configuration file, for editors and validators. */
export function settingsJsonSchema(): object {
  const schema = z.toJSONSchema(settingsSchema, { io: 'input' });
  const defaults = defaultValues();
  for (const [key, { table, name }] of KEYS) {
    const property = propertiesOf(propertiesOf(schema)[table])[name];
    // The generator leaves out the defaults of what it has to decode.
    if (property !== undefined && defaults.has(key)) property['default'] = defaults.get(key);
  }
  const { $schema, ...rest } = schema;
  return { $schema, title: 'Configuration of ota-agent', ...rest };
}

type Properties = Record<string, Record<string, unknown> | undefined>;

function propertiesOf(schema: object | undefined): Properties {
  return schema !== undefined && 'properties' in schema ? (schema.properties as Properties) : {};
}

const HEADINGS = ['Key', 'Type', 'Default', 'Meaning'];

/** One row per key, laid out as the formatter of this repository wants it. */
export function referenceTable(): readonly string[] {
  const defaults = defaultValues();
  const rows = [
    ...[...KEYS.values()].map((spec) => rowOf(spec, defaults.get(spec.key))),
    ...componentRows(),
  ];
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[], fill: string): string =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width, fill)).join(' | ')} |`;
  return [line(HEADINGS, ' '), line([], '-'), ...rows.map((row) => line(row, ' '))];
}

/** Its installer has the keys of the device's own. */
function componentRows(): readonly (readonly string[])[] {
  const own = [...COMPONENT_KEYS.values()].filter(({ table }) => table === COMPONENT);
  const inner = [
    '`component.installer.*`',
    'as `installer.*`',
    '–',
    'How its images are installed',
  ];
  return [...own.map((spec) => rowOf(spec, undefined)), inner];
}

function rowOf(spec: KeySpec, byDefault: unknown): readonly string[] {
  const { meaning, unset } = meaningOf(spec);
  const shown = byDefault === undefined ? unset || '–' : `\`${JSON.stringify(byDefault)}\``;
  return [`\`${spec.key}\``, typeOf(spec), shown, meaning];
}

/** The two halves of a key's description: what it is, and what holds when it is not set. */
export function meaningOf(spec: KeySpec): { readonly meaning: string; readonly unset: string } {
  const [meaning = '', unset = ''] = (spec.schema.description ?? '').split('. Unset: ');
  return { meaning, unset };
}
