/** Which facts a log line may carry, and what is taken out of the texts that it does. */
import { scrubbed, type FailureCode, type FailureDetails } from '../errors.ts';

export type Facts = Readonly<Record<string, string | number | boolean>>;

/** Every detail of a failure may be logged; a new one does not compile until it is listed. */
type DetailName = { [C in FailureCode]: keyof FailureDetails[C] }[FailureCode];

const DETAILS: Readonly<Record<DetailName, true>> = {
  agreeing: true,
  algorithm: true,
  answer: true,
  attribute: true,
  cause: true,
  check: true,
  column: true,
  computed: true,
  delegations: true,
  device: true,
  director: true,
  ecu: true,
  entry: true,
  expected: true,
  expiresAt: true,
  field: true,
  file: true,
  filename: true,
  found: true,
  format: true,
  freeBytes: true,
  hardwareIds: true,
  image: true,
  keyType: true,
  installer: true,
  key: true,
  latestKnownAt: true,
  lengthBytes: true,
  line: true,
  listed: true,
  listedBytes: true,
  listedIn: true,
  lockboxes: true,
  maxBytes: true,
  maxRoles: true,
  maxRotations: true,
  mechanism: true,
  minimumBytesPerSecond: true,
  missing: true,
  module: true,
  needed: true,
  neededBytes: true,
  nowAt: true,
  offered: true,
  offeredAt: true,
  offeredBytes: true,
  operation: true,
  other: true,
  overMs: true,
  part: true,
  path: true,
  phase: true,
  problem: true,
  receivedBytes: true,
  remedy: true,
  retryAfterSeconds: true,
  repo: true,
  role: true,
  roles: true,
  rootVersion: true,
  said: true,
  sealed: true,
  searched: true,
  secret: true,
  signed: true,
  source: true,
  status: true,
  supported: true,
  threshold: true,
  timeoutMs: true,
  triesLeft: true,
  trusted: true,
  type: true,
  uri: true,
  url: true,
  valid: true,
  want: true,
  wanted: true,
  what: true,
  which: true,
  while: true,
};

/** Facts of the cycle and of start-up. */
const OTHER_NAMES = [
  'attack',
  'attempt',
  'bytesPerSecond',
  'code',
  'correlationId',
  'device',
  'doneBytes',
  'from',
  'outcome',
  'percent',
  'secondsLeft',
  'signal',
  'socket',
  'state',
  'to',
  'totalBytes',
  'version',
];

const PERMITTED: ReadonlySet<string> = new Set([...Object.keys(DETAILS), ...OTHER_NAMES]);

/** Leaves out every field that is not on the list, and says which. */
export function permitted(facts: Facts): Facts {
  const entries = Object.entries(facts);
  const kept = entries
    .filter(([name]) => PERMITTED.has(name))
    .map(([name, value]) => [name, typeof value === 'string' ? scrubbed(value) : value]);
  const left = entries.map(([name]) => name).filter((name) => !PERMITTED.has(name));
  return {
    ...(Object.fromEntries(kept) as Facts),
    ...(left.length > 0 ? { redacted: left.join(' ') } : {}),
  };
}
