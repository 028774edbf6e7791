/** `ota-agent config`: is the configuration right, what is in force and why, and what could be set. */
import { isDeepStrictEqual } from 'node:util';

import { stringify } from 'smol-toml';

import { meaningOf, referenceTable, settingsJsonSchema } from '../config-document.ts';
import {
  COMPONENT,
  COMPONENT_KEYS,
  KEYS,
  TABLES,
  valuesOf,
  valuesOfComponent,
  type KeySpec,
} from '../config-keys.ts';
import type { LoadedSettings, Origin } from '../config-problem.ts';
import { shownValue } from '../config-shown.ts';
import { OtaError } from '../errors.ts';
import type { Settings } from '../settings.ts';
import { importAktualizr } from './config-import.ts';
import type { CommandResult } from './result.ts';

/**
 * @param args - what follows `config`
 * @param load - called only where the configuration is looked at: documents need none
 * @throws OtaError USAGE, and whatever `load` throws
 */
export async function configCommand(
  args: readonly string[],
  load: () => Promise<LoadedSettings>,
): Promise<CommandResult> {
  const [action = '', ...rest] = args;
  if (action === 'import-aktualizr') return importAktualizr(rest);
  if (rest.length > 0) throw usage(`config ${action} takes no arguments`);
  switch (action) {
    case 'check':
      return checkResult(await load());
    case 'show':
      return showResult(await load());
    case 'schema':
      return documentResult(settingsJsonSchema());
    case 'reference':
      return { exit: 0, json: { lines: referenceTable() }, lines: referenceTable() };
    default:
      throw usage(action === '' ? 'config needs an action' : `config knows no action ${action}`);
  }
}

function usage(what: string): OtaError<'USAGE'> {
  return new OtaError('USAGE', {
    what,
    remedy: 'config check | show | schema | reference | import-aktualizr FILE',
  });
}

function checkResult({ files, origins }: LoadedSettings): CommandResult {
  const counts = `${count(origins.size, 'setting')} in ${count(files.length, 'file')}`;
  return {
    exit: 0,
    json: { outcome: 'valid', files, settings: origins.size },
    lines: [
      `valid: ${counts}, everything else has its default`,
      ...files.map((file) => `  ${file}`),
    ],
  };
}

function count(many: number, what: string): string {
  return `${String(many)} ${what}${many === 1 ? '' : 's'}`;
}

/** The lines are a configuration file themselves; arguments of programs are missing in it. */
function showResult({ settings, origins, files }: LoadedSettings): CommandResult {
  const values = valuesOf(settings);
  const shown = [...KEYS.values()].map((spec) => {
    const value = values.get(spec.key);
    const origin = origins.get(spec.key);
    return { spec, value, origin, line: lineOf(spec, value, origin) };
  });
  const lines = [...TABLES].flatMap((table) => [
    `[${table}]`,
    ...shown.filter(({ spec }) => spec.table === table).map(({ line }) => line),
    '',
  ]);
  lines.push(...componentLines(settings, origins));
  const json = shown.map(({ spec: { key }, value = null, origin = null }) => {
    return [key, { value: shownValue(key, value), origin }];
  });
  return {
    exit: 0,
    json: {
      outcome: 'valid',
      files,
      settings: Object.fromEntries(json) as object,
      components: settings.component.map((one) =>
        Object.fromEntries(
          [...valuesOfComponent(one)].map(([key, value]) => [key, shownValue(key, value)]),
        ),
      ),
    },
    lines: lines.slice(0, -1),
  };
}

function componentLines(
  { component }: Settings,
  origins: ReadonlyMap<string, Origin>,
): readonly string[] {
  return component.flatMap((one, index) => {
    const values = valuesOfComponent(one);
    const linesOf = (table: string): readonly string[] =>
      [...COMPONENT_KEYS.values()]
        .filter((spec) => spec.table === table && values.has(spec.key))
        .map((spec) => {
          const key = spec.key.replace(COMPONENT, `${COMPONENT}[${String(index)}]`);
          return lineOf(spec, values.get(spec.key), origins.get(key));
        });
    const installer = `${COMPONENT}.installer`;
    return [`[[${COMPONENT}]]`, ...linesOf(COMPONENT), `[${installer}]`, ...linesOf(installer), ''];
  });
}

function lineOf(spec: KeySpec, value: unknown, origin: Origin | undefined): string {
  const { unset } = meaningOf(spec);
  if (value === undefined) return `# ${spec.name} is not set${unset === '' ? '' : `: ${unset}`}`;
  const shown = shownValue(spec.key, value);
  const assignment = stringify({ [spec.name]: shown }).trim();
  const from = origin === undefined ? 'default' : placeOf(origin);
  // Read back, it would be another program: it is there to be seen.
  return isDeepStrictEqual(shown, value)
    ? `${assignment}  # ${from}`
    : `# ${assignment}  # ${from}; arguments are not shown`;
}

/** A file name may hold a line end, which would end the comment. */
function placeOf({ file, line }: Origin): string {
  const name = /\p{Cc}/u.test(file) ? JSON.stringify(file) : file;
  return line === 0 ? name : `${name}:${String(line)}`;
}

function documentResult(json: object): CommandResult {
  return { exit: 0, json, lines: JSON.stringify(json, null, 2).split('\n') };
}
