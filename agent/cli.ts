/** The command line: which commands there are, what they take, and the text of --help. */
import { OtaError } from './errors.ts';
import { parseArgs } from './io/lean-node.ts';

export interface CommandLine {
  readonly command: CommandName;
  /** What follows the command and is its own business. */
  readonly rest: readonly string[];
  readonly config: readonly string[];
  readonly json: boolean;
}

export const COMMANDS = {
  run: 'the daemon: polls, updates, confirms and reports until it is stopped',
  once: 'exactly one cycle in the foreground; resumes an interrupted one first',
  update: 'a cycle now: in the daemon where one runs, else as once',
  check: 'fetch and verify only; prints what would be installed',
  provision:
    'token, keys, certificate and ECU registration; may be run again, while no daemon runs',
  rotate: 'tls | uptane | certificate: a new one, now; cancel gives up',
  secrets: 'receives what was encrypted to this device, as files in memory for services',
  factory: 'many devices from one station, with a record of each; may be interrupted',
  status: 'identity, installed images, cycle state and the last verdict',
  doctor: 'checks configuration, clock, token, keys, gateway, disk and installer, with remedies',
  history: 'past updates and how they ended',
  confirm: 'mark the running image good',
  rollback: 'go back to the previous image',
  pause: 'stop the download that is under way, until resume',
  resume: 'let a paused download go on',
  abort: 'end an update whose download is under way or paused',
  approve: 'agree to the installation of the update that waits for consent',
  anchor: 'show | accept: what the token remembers of this storage, against going back',
  installer: 'the privileged half where separation.installer is set; systemd starts it',
  verify: 'verify repositories before they are published: no token needed',
  config: 'check | show | schema | reference | import-aktualizr FILE',
  explain: 'what a failure code means, and what to do',
  openapi: 'the OpenAPI document of the local API, without a daemon',
  bundle: 'everything that support needs, without secrets, as one archive',
  completion: 'bash | zsh | fish: a script that completes commands and options',
  man: 'the manual page, for man -l',
} as const;

export type CommandName = keyof typeof COMMANDS;

/** Words that may follow a command, where they are few. */
export const ACTIONS: Readonly<Partial<Record<CommandName, readonly string[]>>> = {
  rotate: ['tls', 'uptane', 'certificate', 'cancel'],
  anchor: ['show', 'accept'],
  config: ['check', 'show', 'schema', 'reference', 'import-aktualizr'],
  completion: ['bash', 'zsh', 'fish'],
};

export const EXIT_CODES: readonly (readonly [number, string])[] = [
  [0, 'done: up to date, or installed and complete'],
  [1, 'a bug in the agent'],
  [2, 'usage or configuration error'],
  [3, 'not provisioned'],
  [10, 'update available (check)'],
  [11, 'installed, takes effect after reboot'],
  [12, 'deferred: window, consent, inhibitor, pause, back-off'],
  [20, 'metadata refused'],
  [21, 'gateway unreachable or answering wrongly'],
  [30, 'download failed'],
  [31, 'image refused'],
  [32, 'not enough space'],
  [40, 'install failed, previous image still runs'],
  [41, 'rolled back'],
  [50, 'token or identity failure'],
];

const OWN_OPTIONS: Readonly<Partial<Record<CommandName, string>>> = {
  verify: `
Options of verify:
  --director DIR|URL --image DIR|URL
                                what the two servers would serve, or do
  --ecu SERIAL --hardware-id ID every ECU of the vehicle, in pairs; the first is the Primary
  --state DIR                   trusted metadata from one run to the next
  --roots DIRECTOR IMAGE        pinned root metadata files (default: 1.root.json of each)
  --time ISO                    instead of the clock
  --image-format uptane|tuf     of the Image repository (default: uptane)
  --images                      every image has to be there and be right, also at a URL
  --no-images                   look at no image (default: those under targets/ of a directory)
  --watch-expiry DAYS           warn of roles that end within DAYS, and of whatever is wrong in
                                the whole Image repository; the exit code stays
  --max-root-metadata SIZE --max-image-metadata SIZE
                                limits of devices that configure them (default: 64KiB, 8MiB)
  --explain                     every question, answer and check: standard error, "steps" in JSON
  --ca FILE                     PEM file of the CAs for https (default: the system's)
  --timeout SECONDS             of connections and silent servers (default: 30); a server has to
                                send 1 KiB/s over it, and redirects are not followed

Exit codes: 0 an update, or up to date; 20 metadata refused; 31 an image refused; 21 a server
answers wrongly or not at all; 30 an image cannot be had, or too slowly; 2 usage.`,
  doctor: `
Changes nothing and may run beside the daemon. One line for each check: what was found, and for
! (a warning) and ✘ (a failure) what to do; checks that stand on one that failed are skipped.

Exit codes: that of the gravest failure: 2 configuration, 50 token or identity, 32 storage or
space, 40 installer, 20 metadata, 21 gateway, 3 not provisioned; 0 where nothing failed.`,
  rotate: `
  tls                 another TLS key, with a certificate for it
  uptane              another Uptane key, registered with the Director
  certificate         another certificate for the same TLS key
  cancel              gives up what waits for a CA or a person

The old one is destroyed once the gateway has accepted the new one, and not before. What waits goes
on at the next cycle: ota-agent status shows it.`,
  installer: `
  --peer INSTANCE     whom systemd says is connected: %i of a unit for a socket with Accept=yes

Serves one connection, LISTEN_FDS of systemd: ota-agent-installer.socket. systemd/README.md.`,
  anchor: `
anchor show      what is sealed, what the storage holds, and whether one is behind the other
anchor accept    after a deliberate restore or exchange: what the storage holds now is the truth.
                 From then on older metadata and older releases can be installed again. The
                 Director is told.`,
  update: `
  --offline DIR       instead, what is on the medium that is mounted at DIR: no network is used
  --lockbox NAME      which update on it, where more than one is for this device

Answers when the offline update is installed, or waits for a reboot. agent/OFFLINE.md.`,
  status: `
  --watch             goes on showing phases, bytes, rate and time left, until it is ended`,
  explain: `
  CODE                such as METADATA_EXPIRED; without, all codes
  --markdown          all of them as FAILURES.md`,
  openapi: `
  --markdown          the same for people, as API.md`,
  bundle: `
  --output FILE       where to (default: ota-agent-bundle.tar.gz here); mode 0600`,
  config: `
import-aktualizr FILE   the same for this agent, of a sota.toml; what has no equivalent is said`,
  approve: `
  UPDATE              as ota-agent status names it; without, the one that waits now`,
  provision: `
The configuration says how: provisioning.mode is est, shared-cred, manual or device-cred.`,
  factory: `
Options of factory:
  --devices FILE   CSV with device_id and, where they differ from the configuration, ecu_serial,
                   hardware_id, module, token_uri, pin_file, so_pin_file, env:NAME
  --records DIR    devices/ID.json, requests/ID.csr, certificates/ID.pem, public-keys.json
  --only ID        these devices of the list alone; repeatable
  --station NAME   for the records (default: the host name)

Token, keys and certificate of each; what is done is not looked at again. provisioning.mode is est,
or manual to work without network.

Exit codes: 0 all done; 3 certificates are awaited; else that of the first device that failed.`,
};

/**
 * @returns the command line, or the text to print for --help and --version
 * @throws OtaError USAGE
 */
export function parseCommandLine(argv: readonly string[], version: string): CommandLine | string {
  const [first, ...rest] = argv;
  if (first === '--version' || rest.includes('--version')) return version;
  if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
    return helpText();
  }
  if (!isCommand(first)) {
    const remedy = `one of: ${Object.keys(COMMANDS).join(', ')}; see ota-agent --help`;
    throw new OtaError('USAGE', { what: `no such command: ${first}`, remedy });
  }
  if (rest.includes('--help') || rest.includes('-h')) return commandHelp(first);
  const common = splitCommon(rest);
  return { command: first, ...common };
}

/** Takes the options that every command has out of the way of those it has for itself. */
function splitCommon(args: readonly string[]): Omit<CommandLine, 'command'> {
  const { tokens } = parseArgs({
    args: [...args],
    options: { config: { type: 'string', multiple: true }, json: { type: 'boolean' } },
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const config: string[] = [];
  const taken = new Set<number>();
  let json = false;
  for (const token of tokens) {
    if (token.kind !== 'option' || (token.name !== 'config' && token.name !== 'json')) continue;
    taken.add(token.index);
    if (token.name === 'json') json = true;
    else if (token.value === undefined) {
      throw new OtaError('USAGE', { what: '--config names nothing', remedy: '--config FILE|DIR' });
    } else {
      config.push(token.value);
      if (!token.inlineValue) taken.add(token.index + 1);
    }
  }
  return { config, json, rest: args.filter((_, index) => !taken.has(index)) };
}

/** @throws OtaError USAGE for a command that takes nothing of its own but was given something */
export function expectNothing(command: CommandName, rest: readonly string[]): void {
  const [first] = rest;
  if (first === undefined) return;
  const remedy = `ota-agent ${command} --help`;
  throw new OtaError('USAGE', { what: `${command} does not take ${first}`, remedy });
}

function isCommand(text: string): text is CommandName {
  return Object.hasOwn(COMMANDS, text);
}

function helpText(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length)) + 2;
  const commands = Object.entries(COMMANDS).map(([name, does]) => `  ${name.padEnd(width)}${does}`);
  return [
    'ota-agent: verified updates for embedded Linux, with a key that never leaves its token',
    '',
    'Usage: ota-agent COMMAND [--config FILE|DIR]... [--json]',
    '',
    ...commands,
    '',
    'ota-agent COMMAND --help says more. Exit codes: 0 done, 2 usage or configuration,',
    '3 not provisioned, 10 update available, 11 reboot needed, 12 deferred,',
    '20 metadata refused, 21 gateway, 30 download, 31 image refused, 32 space,',
    '40 install failed, 41 rolled back, 50 token or identity, 1 a bug.',
  ].join('\n');
}

export function commandHelp(command: CommandName): string {
  const own = OWN_OPTIONS[command] ?? '';
  return `ota-agent ${command}: ${COMMANDS[command]}

  --config FILE|DIR   read after the system's fragments; repeatable
  --json              one JSON document on standard output${own === '' ? '' : `\n${own}`}`;
}
