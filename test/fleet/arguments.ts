/** The command line of `main.ts`. */
import { parseArgs } from 'node:util';

import { HARDWARE_IDS } from './population.ts';

export interface Arguments {
  readonly devices: number;
  /** Processes that devices live in. */
  readonly workers: number;
  readonly servers: number;
  readonly database: 'sqlite' | 'postgres';
  /** How many simulated seconds pass in a real one. */
  readonly compress: number;
  readonly intervalMinutes: number;
  /** Devices that sign manifests in the emulated token; the others sign in memory. */
  readonly tokenDevices: number;
  /** Percentages of the rollout's phases. */
  readonly phases: readonly number[];
  readonly soakMinutes: number;
  /** Of devices on which the new image fails its health check. */
  readonly failPercent: number;
  /** The same by hardware: failures that have a cause in common. */
  readonly failOn: ReadonlyMap<string, number>;
  /** How long a device may take to pass the health check, until it goes back. */
  readonly healthMinutes: number;
  readonly rolloutAtMinute: number;
  readonly outageAtMinute: number;
  /** 0: none. */
  readonly outageMinutes: number;
  /** How long the servers are watched after they came back, and the rollout is over. */
  readonly afterMinutes: number;
  /** The end, whatever the rollout does. */
  readonly maxMinutes: number;
}

export const USAGE = `usage: npm run fleet -- [options]

  --devices N          (100)
  --workers N          processes that devices live in (2)
  --servers N          server processes; more than one need PostgreSQL (1)
  --database KIND      sqlite or postgres (sqlite; postgres for more than one server)
  --compress N         simulated seconds in a real one (60)
  --interval MINUTES   of polls (60)
  --token-devices N    devices whose Uptane key is in the emulated token (10, at most --devices)
  --phases LIST        percentages of the rollout's phases (1,10,100)
  --soak MINUTES       how long each phase is watched (5)
  --fail PERCENT       of devices on which the new image fails its health check (1)
  --fail-on HARDWARE=PERCENT   the same for one hardware; may be repeated
  --health MINUTES     until a device that fails goes back (15)
  --rollout-at MINUTE  when the rollout starts (10)
  --outage-at MINUTE   when the servers are killed (90)
  --outage MINUTES     how long they are away; 0: never (10)
  --after MINUTES      how long to watch after rollout and outage (60)
  --max MINUTES        the end, whatever the rollout does (600)
  --help               this text
`;

const OPTIONS = {
  devices: { type: 'string', default: '100' },
  workers: { type: 'string', default: '2' },
  servers: { type: 'string', default: '1' },
  database: { type: 'string' },
  compress: { type: 'string', default: '60' },
  interval: { type: 'string', default: '60' },
  'token-devices': { type: 'string', default: '10' },
  phases: { type: 'string', default: '1,10,100' },
  soak: { type: 'string', default: '5' },
  fail: { type: 'string', default: '1' },
  'fail-on': { type: 'string', multiple: true },
  health: { type: 'string', default: '15' },
  'rollout-at': { type: 'string', default: '10' },
  'outage-at': { type: 'string', default: '90' },
  outage: { type: 'string', default: '10' },
  after: { type: 'string', default: '60' },
  max: { type: 'string', default: '600' },
  help: { type: 'boolean', default: false },
} as const;

/** Wrong use of the command line, in words. */
export class UsageError extends Error {}

/** @throws UsageError */
export function parseArguments(args: readonly string[]): Arguments | 'help' {
  const values = valuesOf(args);
  if (values.help) return 'help';
  const devices = whole('--devices', values.devices, 1);
  const servers = whole('--servers', values.servers, 1);
  return {
    devices,
    servers,
    database: databaseOf(values.database, servers),
    workers: Math.min(whole('--workers', values.workers, 1), devices),
    compress: positive('--compress', values.compress),
    intervalMinutes: positive('--interval', values.interval),
    tokenDevices: Math.min(whole('--token-devices', values['token-devices'], 0), devices),
    phases: values.phases.split(',').map((one) => whole('--phases', one, 1, 100)),
    soakMinutes: amount('--soak', values.soak),
    failPercent: amount('--fail', values.fail, 100),
    failOn: new Map((values['fail-on'] ?? []).map(failureOn)),
    healthMinutes: amount('--health', values.health),
    rolloutAtMinute: amount('--rollout-at', values['rollout-at']),
    outageAtMinute: amount('--outage-at', values['outage-at']),
    outageMinutes: amount('--outage', values.outage),
    afterMinutes: amount('--after', values.after),
    maxMinutes: positive('--max', values.max),
  };
}

function valuesOf(
  args: readonly string[],
): ReturnType<typeof parseArgs<{ readonly options: typeof OPTIONS }>>['values'] {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause));
  }
}

function databaseOf(text: string | undefined, servers: number): Arguments['database'] {
  const wanted = text ?? (servers > 1 ? 'postgres' : 'sqlite');
  if (wanted !== 'sqlite' && wanted !== 'postgres')
    throw new UsageError(`--database is sqlite or postgres, not ${wanted}`);
  if (wanted === 'sqlite' && servers > 1)
    throw new UsageError('several servers need --database postgres');
  return wanted;
}

function failureOn(text: string): readonly [string, number] {
  const [hardware = '', percent = ''] = text.split('=');
  if (!HARDWARE_IDS.includes(hardware))
    throw new UsageError(`--fail-on is for one of ${HARDWARE_IDS.join(', ')}, not ${hardware}`);
  return [hardware, amount(`--fail-on ${hardware}`, percent, 100)];
}

function whole(name: string, text: string, min: number, max = 1_000_000): number {
  const number = text === '' ? Number.NaN : Number(text);
  if (Number.isInteger(number) && number >= min && number <= max) return number;
  throw new UsageError(
    `${name} is a whole number from ${String(min)} to ${String(max)}, not ${text}`,
  );
}

function positive(name: string, text: string): number {
  const number = amount(name, text);
  if (number > 0) return number;
  throw new UsageError(`${name} must be more than 0`);
}

function amount(name: string, text: string, max = 1_000_000): number {
  const number = text === '' ? Number.NaN : Number(text);
  if (number >= 0 && number <= max) return number;
  throw new UsageError(`${name} is a number from 0 to ${String(max)}, not ${text}`);
}
