/** Composition root of the command line: settings in, one command run, its result printed. */
import { parseCommandLine, expectNothing, type CommandLine, type CommandName } from './cli.ts';
import type { CommandContext } from './commands/context.ts';
import type { CommandResult } from './commands/result.ts';
import type { LoadedSettings } from './config-problem.ts';
import { causeOf, isOtaError, OtaError } from './errors.ts';
import { VERSION } from './version.ts';

type Command = (context: CommandContext) => Promise<CommandResult>;

/** They read no configuration. */
const DOCUMENT_COMMANDS = ['explain', 'completion', 'man', 'openapi'] as const;
type DocumentCommand = (typeof DOCUMENT_COMMANDS)[number];

/** Loaded when asked for: `verify` needs no library of the token, and a daemon that waits needs none. */
const COMMANDS: Readonly<
  Record<
    Exclude<CommandName, 'run' | 'verify' | 'config' | 'doctor' | 'anchor' | DocumentCommand>,
    () => Promise<Command>
  >
> = {
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

async function documentCommand(
  command: DocumentCommand,
  rest: readonly string[],
): Promise<CommandResult> {
  if (command === 'explain') return (await import('./commands/explain.ts')).explainCommand(rest);
  if (command === 'openapi') {
    return (await import('./commands/api-reference.ts')).openapiCommand(rest);
  }
  return (await import('./commands/documents.ts')).documentsCommand(command, rest);
}

function isDocumentCommand(command: CommandName): command is DocumentCommand {
  return DOCUMENT_COMMANDS.some((one) => one === command);
}

async function loadSettings(config: readonly string[]): Promise<LoadedSettings> {
  return (await import('./config.ts')).loadSettings({ config });
}

async function contextOf({ config, rest, json }: CommandLine): Promise<CommandContext> {
  const loaded = await loadSettings(config);
  const { openLog } = await import('./io/log.ts');
  return { loaded, rest, json, log: openLog(loaded.settings.log, process.stderr) };
}

async function runCommand(line: CommandLine): Promise<CommandResult> {
  const { command, config, rest } = line;
  if (command === 'verify') {
    return (await import('./commands/verify.ts')).verifyCommand(rest);
  }
  if (command === 'config') {
    return (await import('./commands/config.ts')).configCommand(rest, () => loadSettings(config));
  }
  if (isDocumentCommand(command)) return documentCommand(command, rest);
  if (command === 'anchor') {
    const { anchorCommand } = await import('./commands/anchor.ts');
    return anchorCommand(await contextOf(line));
  }
  if (!TAKE_MORE.has(command)) expectNothing(command, rest);
  if (command === 'doctor') return (await import('./commands/doctor.ts')).doctorCommand(config);
  if (command === 'run') return (await import('./commands/run.ts')).runCommand(config);
  const run = await COMMANDS[command]();
  const context = await contextOf(line);
  const { keepRefusedPins } = await import('./io/token/refused-pins.ts');
  keepRefusedPins(context.loaded.settings.storage.path);
  return run(context);
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
    return print((await import('./commands/result.ts')).errorResult(error), json);
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
