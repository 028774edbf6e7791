/** Composition root of the command line: settings in, one command run, its result printed. */
import { parseCommandLine, expectNothing, type CommandLine, type CommandName } from './cli.ts';
import type { CommandContext } from './commands/context.ts';
import { errorResult, type CommandResult } from './commands/result.ts';
import { loadSettings } from './config.ts';
import { causeOf, isOtaError, OtaError } from './errors.ts';
import { openLog } from './io/log.ts';
import { keepRefusedPins } from './io/token/refused-pins.ts';
import { VERSION } from './version.ts';

type Command = (context: CommandContext) => Promise<CommandResult>;

/** Loaded when asked for: `verify` needs no library of the token. */
const COMMANDS: Readonly<
  Record<
    Exclude<
      CommandName,
      'verify' | 'config' | 'doctor' | 'anchor' | 'explain' | 'completion' | 'man'
    >,
    () => Promise<Command>
  >
> = {
  run: async () => (await import('./commands/run.ts')).runCommand,
  once: async () => (await import('./commands/once.ts')).onceCommand,
  update: async () => (await import('./commands/once.ts')).updateCommand,
  check: async () => (await import('./commands/check.ts')).checkCommand,
  provision: async () => (await import('./commands/provision.ts')).provisionCommand,
  rotate: async () => (await import('./commands/rotate.ts')).rotateCommand,
  secrets: async () => (await import('./commands/secrets.ts')).secretsCommand,
  factory: async () => (await import('./commands/factory.ts')).factoryCommand,
  status: async () => (await import('./commands/status.ts')).statusCommand,
  bundle: async () => (await import('./commands/bundle.ts')).bundleCommand,
  history: async () => (await import('./commands/status.ts')).historyCommand,
  confirm: async () => (await import('./commands/confirm.ts')).confirmCommand,
  rollback: async () => (await import('./commands/confirm.ts')).rollbackCommand,
  pause: async () => (await import('./commands/confirm.ts')).pauseCommand,
  resume: async () => (await import('./commands/confirm.ts')).resumeCommand,
  approve: async () => (await import('./commands/confirm.ts')).approveCommand,
  abort: async () => (await import('./commands/confirm.ts')).abortCommand,
  installer: async () => (await import('./commands/installer.ts')).installerCommand,
};

/** Commands that look at what follows them. */
const TAKE_MORE: ReadonlySet<CommandName> = new Set([
  'rotate',
  'factory',
  'approve',
  'update',
  'status',
  'bundle',
  'installer',
]);

/** Commands that read no configuration. */
async function documentCommand(
  command: 'explain' | 'completion' | 'man',
  rest: readonly string[],
): Promise<CommandResult> {
  if (command === 'explain') return (await import('./commands/explain.ts')).explainCommand(rest);
  return (await import('./commands/documents.ts')).documentsCommand(command, rest);
}

async function runCommand(line: CommandLine): Promise<CommandResult> {
  const { command, config, rest, json } = line;
  if (command === 'verify') {
    return (await import('./commands/verify.ts')).verifyCommand(rest);
  }
  if (command === 'config') {
    return (await import('./commands/config.ts')).configCommand(rest, () =>
      loadSettings({ config }),
    );
  }
  if (command === 'explain' || command === 'completion' || command === 'man') {
    return documentCommand(command, rest);
  }
  if (command === 'anchor') {
    const { anchorCommand } = await import('./commands/anchor.ts');
    const loaded = await loadSettings({ config });
    return anchorCommand({ loaded, rest, json, log: openLog(loaded.settings.log, process.stderr) });
  }
  if (!TAKE_MORE.has(command)) expectNothing(command, rest);
  if (command === 'doctor') return (await import('./commands/doctor.ts')).doctorCommand(config);
  const run = await COMMANDS[command]();
  const loaded = await loadSettings({ config });
  keepRefusedPins(loaded.settings.storage.path);
  return run({ loaded, rest, json, log: openLog(loaded.settings.log, process.stderr) });
}

async function main(argv: readonly string[]): Promise<number> {
  let json = argv.includes('--json');
  try {
    demandNode();
    const line = parseCommandLine(argv, VERSION);
    if (typeof line === 'string') {
      process.stdout.write(`${line}\n`);
      return 0;
    }
    ({ json } = line);
    return print(await runCommand(line), json);
  } catch (error) {
    if (!isOtaError(error) || error.code === 'BUG') throw error;
    return print(errorResult(error), json);
  }
}

/** JSON to standard output; for people, results to standard output and failures to standard error. */
function print(
  { exit, json, lines, notes = [], isReport }: CommandResult,
  asJson: boolean,
): number {
  if (asJson) process.stdout.write(`${JSON.stringify(json)}\n`);
  else {
    process.stderr.write(notes.map((note) => `${note}\n`).join(''));
    const isGood = exit === 0 || exit === 10 || exit === 11;
    const stream = isGood || isReport === true ? process.stdout : process.stderr;
    stream.write(lines.map((line) => `${line}\n`).join(''));
  }
  return exit;
}

/** A bare `node` on the path may be far older than what `npm run` uses. */
function demandNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 24 || (major === 24 && minor >= 15)) return;
  const what = `Node ${process.versions.node} is too old`;
  throw new OtaError('USAGE', { what, remedy: 'Node 24.15 or later, as npm run uses it' });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`this is a bug in ota-agent: ${causeOf(error)}\n`);
  process.stderr.write(`${error instanceof Error ? (error.stack ?? '') : ''}\n`);
  process.exitCode = 1;
}
