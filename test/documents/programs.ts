/** Whether a command that stands in a document could be typed: its program, words and options exist. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { ACTIONS, commandHelp, COMMANDS, type CommandName } from '../../agent/cli.ts';
import { CommandLine } from '../director/cli/command-line.ts';
import { COMMANDS as DIRECTOR_COMMANDS } from '../director/cli/commands.ts';
import { ROOT } from './documents.ts';

const SCRIPTS = (
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Readonly<Record<string, string>>;
  }
).scripts;

type Judge = (words: readonly string[], folder: string) => string | undefined;

const JUDGES: Readonly<Record<string, Judge>> = {
  'ota-agent': judgeAgent,
  npm: judgeNpm,
  node: judgeNode,
  sh: (words, folder) => (fileOf(words, folder) === undefined ? missing(words) : undefined),
  make: judgeMake,
  systemctl: judgeUnits,
  director: judgeDirector,
};

/**
 * Programs of others are not judged: what they take is theirs.
 *
 * @param folder - of the document: files are named from there or from the root of the checkout
 * @returns what is wrong with it
 */
export function problemOf(text: string, folder: string): string | undefined {
  for (const simple of text.split(/&&|[;|]/u)) {
    const [program = '', ...words] = withoutWrapper(simple);
    const judge = Object.hasOwn(JUDGES, program) ? JUDGES[program] : undefined;
    const problem = judge?.(words, folder);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const OTHERS =
  /^(?:apt(?:-get)?|cat|cd|curl|export|install|mkdir|openssl|p(?:kcs)?11-?tool|systemd-\w+)$/u;

/** Whether it begins with a program, ours or one of those that people type most here. */
export function isCommand(text: string): boolean {
  const [program = ''] = withoutWrapper(text);
  return Object.hasOwn(JUDGES, program) || OTHERS.test(program);
}

/** What starts another program does not matter, nor do redirections and comments. */
function withoutWrapper(command: string): readonly string[] {
  const words = command
    .replace(/(^|\s)#.*$/u, '')
    .replaceAll(/\d?>\s*\S+|<\s*\S+/gu, '')
    .replace(/^\s*(?:\w+=\S+ )*(?:nice -n \d+|unshare -m|runuser -u \S+ --|as_agent)? */u, '')
    .split(/\s+/u)
    .filter((word) => word !== '');
  return words[0] === 'systemd-run' ? words.slice(words.indexOf('ota-agent')) : words;
}

const optionsOf = (words: readonly string[]): readonly string[] =>
  words.flatMap((word) => /--([a-z][\w-]*)/u.exec(word)?.[1] ?? []);

/** In capitals, or in brackets: something is to be put there. */
const isPlaceholder = (word: string): boolean => /^[[<]|^[A-Z_…|]+$/u.test(word);

function judgeAgent([name = '', ...rest]: readonly string[]): string | undefined {
  if (name === '' || isPlaceholder(name) || ['--help', '--version'].includes(name))
    return undefined;
  if (!Object.hasOwn(COMMANDS, name)) return `ota-agent has no command ${name}`;
  const command = name as CommandName;
  const known = commandHelp(command);
  const stranger = optionsOf(rest).find((one) => one !== 'help' && !has(known, one));
  if (stranger !== undefined) return `ota-agent ${name} takes no --${stranger}`;
  const [action] = rest.filter((word) => !word.startsWith('--'));
  const actions = ACTIONS[command];
  if (actions === undefined || action === undefined || isPlaceholder(action)) return undefined;
  return actions.includes(action) ? undefined : `ota-agent ${name} does not know ${action}`;
}

const has = (text: string, option: string): boolean =>
  new RegExp(`--${option}(?![\\w-])`, 'u').test(text);

function judgeNpm([verb = '', ...words]: readonly string[]): string | undefined {
  if (!['run', 'start', 'test'].includes(verb)) return `npm ${verb} is not one of ours`;
  const rest = words.filter((word) => word !== '-s');
  const name = verb === 'run' ? (rest.shift() ?? '') : verb;
  const script = SCRIPTS[name];
  if (script === undefined) return `package.json has no script ${name}`;
  if (name === 'ota-agent') return judgeAgent(rest.slice(1));
  const [, program] = /\bnode (\S+\.ts)/u.exec(script) ?? [];
  return program === undefined ? undefined : judgeNode([program, ...rest], ROOT);
}

function judgeNode(words: readonly string[], folder: string): string | undefined {
  const [program = '', ...rest] = words.filter((word) => !['--test', '--jitless'].includes(word));
  if (program === '') return undefined;
  const file = fileOf([program], folder);
  if (file === undefined) return missing([program]);
  if (file === join(ROOT, 'test/director/cli.ts')) return judgeDirector(rest);
  const sources = [dirname(file), join(dirname(file), 'cli')].flatMap(sourcesIn).join('');
  const stranger = optionsOf(rest).find(
    (one) => !new RegExp(`--${one}(?![\\w-])|[\\s']${one}'?: \\{`, 'u').test(sources),
  );
  return stranger === undefined ? undefined : `${program} takes no --${stranger}`;
}

function sourcesIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith('.ts'));
  return names.map((name) => readFileSync(join(folder, name), 'utf8'));
}

/** By its own reader. A word alone is a name, and COMMAND is any of them. */
function judgeDirector(words: readonly string[]): string | undefined {
  if (words.length === 0 || words.includes('COMMAND') || words[0] === '()') return undefined;
  try {
    CommandLine.read(words, DIRECTOR_COMMANDS);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function judgeMake(words: readonly string[], folder: string): string | undefined {
  const at = words.indexOf('-C');
  const makefile = fileOf([`${words[at + 1] ?? ''}/Makefile`], folder);
  if (at === -1 || makefile === undefined)
    return `there is no Makefile for: make ${words.join(' ')}`;
  const rules = readFileSync(makefile, 'utf8');
  const targets = words.filter((_, index) => index !== at && index !== at + 1);
  const isTarget = (word: string): boolean => new RegExp(`^${word}\\s*:`, 'mu').test(rules);
  const stranger = targets.find((word) => !/=|^-/u.test(word) && !isTarget(word));
  return stranger === undefined ? undefined : `${makefile} has no target ${stranger}`;
}

function judgeUnits(words: readonly string[]): string | undefined {
  const ours = words.filter((word) => word.startsWith('ota-agent'));
  const names = ours.map((word) => (/\.[a-z]+$/u.test(word) ? word : `${word}.service`));
  const stranger = names.find((name) => !existsSync(join(ROOT, 'systemd', name)));
  return stranger === undefined ? undefined : `there is no unit ${stranger}`;
}

function fileOf([name = '']: readonly string[], folder: string): string | undefined {
  return [join(ROOT, name), join(folder, name)].find((path) => existsSync(path));
}

const missing = ([name = '']: readonly string[]): string => `there is no ${name}`;
