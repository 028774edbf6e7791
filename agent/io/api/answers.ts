/** What the local API answers with: checked in tests, and published in the OpenAPI document. */
import * as z from 'zod';

const instant = z.string().describe('UTC, ISO 8601');
const bytes = z.int().min(0);
const hashes = z.record(z.string(), z.string()).describe('Algorithm to lower-case hex');

const image = z.object({ filename: z.string(), length: bytes, hashes });

const historyEntry = z.object({
  endedAt: instant,
  correlationId: z.string().optional(),
  filenames: z.array(z.string()),
  code: z.string().describe('OK, or a failure code'),
  description: z.string(),
});

const STATES = [
  'idle',
  'downloading',
  'paused',
  'holding',
  'writing',
  'activating',
  'awaiting-boot',
  'confirming',
  'rolling-back',
  'returning',
  'reporting',
] as const;

const progress = z.object({
  phase: z.enum(['download', 'install']),
  filename: z.string(),
  doneBytes: bytes,
  totalBytes: bytes.describe('0 where nobody knows'),
  bytesPerSecond: z.number().min(0),
  secondsLeft: z.number().min(0).nullable(),
});

const waiting = z.object({
  update: z.string().describe('Names the update to /v1/approve'),
  step: z.enum(['download', 'install']).describe('Before what it waits'),
  since: instant,
  isApproved: z.boolean(),
  reasons: z.array(
    z.object({
      by: z.enum(['window', 'inhibitor', 'consent']),
      says: z.string(),
      until: instant.nullable(),
    }),
  ),
  until: instant.nullable().describe('When all reasons end by themselves, as far as is known'),
  deadline: instant.nullable().describe('When a critical update goes through whatever holds it'),
});

export const statusAnswer = z.object({
  version: z.string(),
  deviceId: z.string().nullable(),
  installer: z.string(),
  state: z.enum(STATES).describe('Where the update cycle is'),
  progress: progress.nullable(),
  waiting: waiting.nullable().describe('Why the update in state `holding` waits'),
  ecus: z.array(
    z.object({ serial: z.string(), hardwareId: z.string(), installed: image.nullable() }),
  ),
  reportsWaiting: z.int().describe('Ends of offline updates that the Director has not heard of'),
  lastRefusal: z.string().nullable().describe('Failure code of the last verification, if refused'),
  lastUpdate: historyEntry.nullable(),
  lastCycle: z.string().describe('Outcome or failure code'),
  nextPollAt: instant.nullable().describe('null while a cycle is in progress'),
  rotation: z.object({ of: z.string(), at: z.string(), since: instant }).nullable(),
  lastRotation: z
    .object({
      of: z.string(),
      outcome: z.string(),
      endedAt: instant,
      code: z.string().optional(),
    })
    .nullable(),
  trust: z.object({ director: z.string().nullable(), image: z.string().nullable() }),
  anchor: z.object({
    sealed: z.boolean(),
    sequence: z.int(),
    protection: z.string().nullable(),
    problem: z.string().nullable(),
  }),
  tlsBackend: z.unknown(),
  warnings: z.array(z.string()),
});

export const historyAnswer = z.object({ history: z.array(historyEntry) });

/** What a command would print: its JSON document, its exit code and its lines. */
export const commandAnswer = z.looseObject({
  outcome: z.string(),
  code: z.string().optional().describe('Failure code: `ota-agent explain CODE`'),
  attack: z.string().optional(),
  details: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
  targets: z.array(image.extend({ ecu: z.string() })).optional(),
  exit: z.int().describe('Exit code of the command'),
  lines: z.array(z.string()).describe('The same for people'),
});

export const errorAnswer = z.looseObject({
  outcome: z.enum(['failed', 'refused']),
  code: z.string().describe('Failure code: `ota-agent explain CODE`'),
  details: z.record(z.string(), z.union([z.string(), z.number()])),
});
