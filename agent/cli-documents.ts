/** Shell completions and the manual page: made of what `--help` prints, so that they cannot disagree. */
import { ACTIONS, commandHelp, COMMANDS, EXIT_CODES, type CommandName } from './cli.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

interface Completed {
  readonly name: CommandName;
  readonly does: string;
  /** Words that may follow: actions and options. */
  readonly words: readonly string[];
}

function completed(): readonly Completed[] {
  return (Object.keys(COMMANDS) as CommandName[]).map((name) => ({
    name,
    does: COMMANDS[name],
    words: [...new Set([...(ACTIONS[name] ?? []), ...optionsIn(commandHelp(name))])],
  }));
}

/** Options stand at the beginning of a line of help, or behind another one. */
function optionsIn(help: string): readonly string[] {
  return help
    .split('\n')
    .filter((line) => /^ +--/u.test(line))
    .flatMap((line) => [...line.matchAll(/(?<= )--[a-z][a-z-]*/gu)].map(([option]) => option));
}

export function completionScript(shell: Shell): readonly string[] {
  return SCRIPTS[shell](completed());
}

const SCRIPTS: Readonly<Record<Shell, (all: readonly Completed[]) => readonly string[]>> = {
  bash: (all) => [
    '# bash completion for ota-agent',
    '_ota_agent() {',
    '  local word=${COMP_WORDS[COMP_CWORD]} words=',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    words='${all.map(({ name }) => name).join(' ')} --help --version'`,
    '  else',
    '    case ${COMP_WORDS[1]} in',
    ...all.map(({ name, words }) => `      ${name}) words='${words.join(' ')} --help' ;;`),
    '    esac',
    '  fi',
    '  COMPREPLY=($(compgen -W "$words" -- "$word"))',
    '}',
    'complete -o default -F _ota_agent ota-agent',
  ],
  zsh: (all) => [
    '#compdef ota-agent',
    '_ota_agent() {',
    '  local -a commands following',
    '  commands=(',
    ...all.map(({ name, does }) => `    ${quoted(`${name}:${does.replace(/:/gu, '\\:')}`)}`),
    '  )',
    '  if (( CURRENT == 2 )); then',
    '    _describe command commands',
    '    return',
    '  fi',
    '  case $words[2] in',
    ...all.map(({ name, words }) => `    ${name}) following=(${words.join(' ')} --help) ;;`),
    '  esac',
    '  compadd -- $following || _files',
    '}',
    // A file on fpath is the function itself, at its first Tab; eval and source only make it known.
    'if [[ $funcstack[1] == _ota-agent ]]; then _ota_agent "$@"; else compdef _ota_agent ota-agent; fi',
  ],
  fish: (all) => [
    '# fish completion for ota-agent',
    'complete -c ota-agent -n __fish_use_subcommand -l help',
    'complete -c ota-agent -n __fish_use_subcommand -l version',
    ...all.flatMap(({ name, does, words }) => [
      `complete -c ota-agent -f -n __fish_use_subcommand -a ${name} -d ${quoted(does)}`,
      ...[...words, '--help'].map((word) => {
        const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-f -a ${word}`;
        return `complete -c ota-agent -n '__fish_seen_subcommand_from ${name}' ${what}`;
      }),
    ]),
  ],
};

function quoted(text: string): string {
  return `'${text.replace(/'/gu, "'\\''")}'`;
}

/** Source: groff_man(7). */
export function manPage(version: string): readonly string[] {
  return [
    `.TH OTA\\-AGENT 8 "" "ota\\-agent ${version}" "System administration"`,
    '.SH NAME',
    'ota\\-agent \\- verified updates for embedded Linux, with a key that never leaves its token',
    '.SH SYNOPSIS',
    '.B ota\\-agent',
    '.I COMMAND',
    '[\\fB\\-\\-config\\fR \\fIFILE\\fR|\\fIDIR\\fR]... [\\fB\\-\\-json\\fR]',
    '.SH COMMANDS',
    ...(Object.keys(COMMANDS) as CommandName[]).flatMap((name) => [
      `.SS ${roff(name)}`,
      '.nf',
      ...commandHelp(name).split('\n').map(roffLine),
      '.fi',
    ]),
    '.SH EXIT STATUS',
    ...EXIT_CODES.flatMap(([code, means]) => ['.TP', String(code), roffLine(means)]),
    '.SH FILES',
    ...FILES.flatMap(([path, is]) => ['.TP', `.I ${roff(path)}`, roffLine(is)]),
    '.SH SEE ALSO',
    '.BR systemd (1),',
    '.BR journalctl (1)',
  ];
}

const FILES = [
  ['/usr/lib/ota-agent/conf.d/*.toml', 'configuration of the image'],
  ['/etc/ota-agent/conf.d/*.toml', 'configuration of the device; later files win'],
  ['/run/ota-agent/conf.d/*.toml', 'configuration for this boot'],
  ['/var/lib/ota-agent', 'what the agent remembers, and staged images'],
  ['/run/ota-agent/api.sock', 'the local API; GET /openapi.json describes it'],
] as const;

function roff(text: string): string {
  const escaped = text.replace(/\\/gu, '\\e').replace(/-/gu, '\\-');
  return escaped.replace(/[^ -~]/gu, (unit) => {
    const hex = (unit.codePointAt(0) ?? 0).toString(16).toUpperCase();
    return `\\[u${hex.padStart(4, '0')}]`;
  });
}

/** A line that begins with a dot or an apostrophe would be a request. */
function roffLine(text: string): string {
  return roff(text).replace(/^([.'])/u, '\\&$1');
}
