/** Reads the operator's command line; every command says which options it takes. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { DirectorFailure, reasonOf } from '../failure.ts';

const OPTIONS = {
  state: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
  name: { type: 'string' },
  'hardware-id': { type: 'string', multiple: true },
  version: { type: 'string' },
  format: { type: 'string' },
  'release-counter': { type: 'string' },
  role: { type: 'string' },
  compress: { type: 'string' },
  encrypt: { type: 'boolean' },
  ecu: { type: 'string' },
  device: { type: 'string' },
  off: { type: 'boolean' },
  parameter: { type: 'string', multiple: true },
  path: { type: 'string', multiple: true },
  terminating: { type: 'boolean' },
  'key-type': { type: 'string' },
  reset: { type: 'boolean' },
  phase: { type: 'string', multiple: true },
  tag: { type: 'string', multiple: true },
  success: { type: 'string' },
  failure: { type: 'string' },
  start: { type: 'boolean' },
} as const;

export type OptionName = keyof typeof OPTIONS;

/** Taken by every command. */
const COMMON: readonly OptionName[] = ['state', 'json', 'help'];

/** What a command needs to know about itself before it can be read. */
export interface Shape {
  /** After the command's name, for people. */
  readonly usage: string;
  readonly options: readonly OptionName[];
  /** Fewest and most words after the command's name. */
  readonly words: readonly [number, number];
}

export class CommandLine {
  readonly words: readonly string[];
  readonly #values: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

  private constructor(words: readonly string[], values: CommandLine['values']) {
    this.words = words;
    this.#values = values;
  }

  /**
   * @returns the command's name and its own command line
   * @throws DirectorFailure with exit code 2
   */
  static read(
    args: readonly string[],
    shapes: Readonly<Record<string, Shape>>,
  ): { readonly name: string; readonly line: CommandLine } | 'help' {
    const { values, positionals } = parse(args);
    if (values['help'] === true) return 'help';
    const [name, ...words] = positionals;
    const known = Object.keys(shapes).join(', ');
    if (name === undefined) throw misuse('no command was given', `give one of ${known}`);
    const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
    if (shape === undefined) throw misuse(`there is no command ${name}`, `give one of ${known}`);
    const usage = `usage: --state DIR ${name} ${shape.usage}`.trimEnd();
    const [fewest, most] = shape.words;
    if (words.length < fewest || words.length > most)
      throw misuse(`${name} needs other words`, usage);
    const allowed: readonly string[] = [...COMMON, ...shape.options];
    const stranger = Object.keys(values).find((option) => !allowed.includes(option));
    if (stranger !== undefined) throw misuse(`${name} takes no --${stranger}`, usage);
    return { name, line: new CommandLine(words, values) };
  }

  get values(): Readonly<Record<string, string | boolean | readonly string[] | undefined>> {
    return this.#values;
  }

  get controlPath(): string {
    return resolve(this.text('state'), 'control.sock');
  }

  word(at: number): string {
    return this.words[at] ?? '';
  }

  /** @throws DirectorFailure with exit code 2 when the option is missing */
  text(name: OptionName): string {
    const value = this.optionalText(name);
    if (value === undefined) throw misuse(`--${name} is missing`, `give --${name} VALUE`);
    return value;
  }

  optionalText(name: OptionName): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  optionalNumber(name: OptionName): number | undefined {
    const text = this.optionalText(name);
    if (text === undefined) return undefined;
    if (/^\d{1,15}$/u.test(text)) return Number(text);
    throw misuse(`--${name} ${text} is not a whole number`, `give --${name} NUMBER`);
  }

  list(name: OptionName): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? (value as readonly string[]) : [];
  }

  has(name: OptionName): boolean {
    return this.#values[name] === true;
  }
}

export function misuse(what: string, remedy: string): DirectorFailure {
  return new DirectorFailure(what, { where: 'command line', remedy, exitCode: 2 });
}

function parse(args: readonly string[]): {
  readonly values: CommandLine['values'];
  readonly positionals: readonly string[];
} {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (cause) {
    throw misuse(reasonOf(cause), 'see --help');
  }
}
