/** The operator's command line for a running Director. */
import { CommandLine, misuse } from './cli/command-line.ts';
import { COMMANDS } from './cli/commands.ts';
import { callControl, ControlFailure } from './control/client.ts';
import { DirectorFailure, reportFailure } from './failure.ts';

const HELP = 'see --help, and "Control API" in test/director/README.md';
const REMEDIES: Readonly<Record<string, string>> = {
  device_not_found: 'list them with devices; a device is known once it has connected',
  image_not_found: 'list them with images; add one with publish',
  image_exists: 'publish under another name: a name never changes its content',
  role_not_found: 'add it with delegate',
  lockbox_not_found: 'list them with lockboxes; sign one with lockbox',
  no_ecus: 'let the device run once, so that it registers its ECUs',
  no_key: 'run ota-agent secrets on the device once',
  nothing_to_roll_back: 'publish or assign once more, and let the device see both',
  hardware_id_mismatch: 'publish the image for that hardware id, or name another ECU',
  ecu_not_found: 'list the ECUs with devices',
  rollout_not_found: 'list them with rollouts',
  rollout_state: 'see its state with rollouts',
  rollout_empty: 'let devices run once, or write down a rollout with another filter',
  fault_not_found: 'list them with faults',
};

async function main(): Promise<void> {
  const read = CommandLine.read(process.argv.slice(2), COMMANDS);
  if (read === 'help') {
    process.stdout.write(usage());
    return;
  }
  const { name, line } = read;
  const command = COMMANDS[name];
  if (command === undefined) throw misuse(`there is no command ${name}`, 'see --help');
  const { controlPath } = line;
  const output = await command
    .run((method, path, body) => callControl(controlPath, method, path, body), line)
    .catch((error: unknown) => {
      throw explain(error, controlPath);
    });
  const text = line.has('json') ? JSON.stringify(output.json) : output.text;
  process.stdout.write(`${text}\n`);
}

function usage(): string {
  const rows = Object.entries(COMMANDS).map(
    ([name, { usage: words, what }]) => `  ${`${name} ${words}`.trimEnd()}\n      ${what}`,
  );
  return [
    'usage: node test/director/cli.ts --state DIR COMMAND [--json]\n',
    ...rows,
    '',
    'exit codes: 0 done, 1 refused or not running, 2 used wrongly',
    '',
  ].join('\n');
}

function explain(error: unknown, controlPath: string): unknown {
  if (!(error instanceof ControlFailure)) return error;
  if (error.status === 0) {
    const remedy = 'start it: npm run director -- --state DIR; then give the same --state here';
    return new DirectorFailure(
      'no Director is running',
      { where: controlPath, remedy },
      { cause: error },
    );
  }
  const remedy = error.status < 500 ? (REMEDIES[error.code] ?? HELP) : 'see its log';
  const what = `${error.message} (${String(error.status)} ${error.code})`;
  return new DirectorFailure(what, { where: controlPath, remedy }, { cause: error });
}

main().catch((error: unknown) => {
  process.exitCode = reportFailure(error);
});
