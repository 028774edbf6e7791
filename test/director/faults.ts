/**
 * Faults: one name for each attack or nuisance, switched on and off while the server runs.
 *
 * A fault changes what goes out, never what is kept: the honest state on disk is the same before,
 * during and after. Only the switch itself is remembered, in `faults.json`, together with the highest
 * version that a fault has sent, so that honest metadata can be signed above it afterwards.
 */
import { Refusal } from './failure.ts';
import { ENCRYPTION_FAULTS } from './faults/encryption-faults.ts';

export type Parameter = number | string;
export type Parameters = Readonly<Record<string, Parameter>>;

/** Where a fault takes hold. */
export type Stage =
  | 'image-metadata'
  | 'director-metadata'
  | 'metadata-bytes'
  | 'image'
  | 'treehub'
  | 'time'
  | 'answer';

export interface FaultRow {
  readonly stages: readonly Stage[];
  /** As Uptane Standard 2.1 §4.3 calls it; `nuisance` when it is none. */
  readonly attack: string;
  readonly what: string;
  /** With defaults; the type of the default is the type of the parameter. */
  readonly parameters: Parameters;
  /** Sends versions that a correct client keeps: honest versions must pass them afterwards. */
  readonly raisesVersions?: true;
}

const raises = { raisesVersions: true } as const;
const TIMES = { times: 0 };
/** Part of the path below `/treehub/`; empty: all files. */
const FILE = { file: '' };

export const FAULTS = {
  'timestamp-rollback': {
    stages: ['image-metadata'],
    attack: 'rollback',
    what: 'Image repository timestamp, validly signed, one version older than the newest',
    parameters: {},
  },
  'snapshot-rollback': {
    stages: ['image-metadata'],
    attack: 'rollback',
    what: 'newer Image repository timestamp over the previous snapshot and its targets, all validly signed',
    parameters: {},
    ...raises,
  },
  'targets-rollback': {
    stages: ['image-metadata'],
    attack: 'rollback',
    what: 'newer Image repository timestamp and snapshot that list the previous targets, validly signed',
    parameters: {},
    ...raises,
  },
  'expired-timestamp': {
    stages: ['image-metadata'],
    attack: 'freeze',
    what: 'newer Image repository timestamp, validly signed, expired in 2020',
    parameters: {},
  },
  'expired-targets': {
    stages: ['image-metadata'],
    attack: 'freeze',
    what: 'newer Image repository targets, validly signed and listed, expired in 2020',
    parameters: {},
    ...raises,
  },
  'director-timestamp-rollback': {
    stages: ['director-metadata'],
    attack: 'rollback',
    what: 'Director timestamp, validly signed, one version older than the newest',
    parameters: {},
  },
  'director-targets-rollback': {
    stages: ['director-metadata'],
    attack: 'rollback',
    what: 'newer Director timestamp and snapshot that list the previous targets, validly signed',
    parameters: {},
    ...raises,
  },
  'director-expired-timestamp': {
    stages: ['director-metadata'],
    attack: 'freeze',
    what: 'newer Director timestamp, validly signed, expired in 2020',
    parameters: {},
  },
  'director-expired-targets': {
    stages: ['director-metadata'],
    attack: 'freeze',
    what: 'newer Director targets, validly signed and listed, expired in 2020',
    parameters: {},
    ...raises,
  },
  'wrong-hardware-id': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets name another hardware id for every ECU',
    parameters: { hardwareId: 'wrong-hardware-id' },
    ...raises,
  },
  'unknown-ecu': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets assign every image to one more ECU, which the device does not have',
    parameters: { serial: 'unknown-ecu' },
    ...raises,
  },
  'director-repeats-ecu': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets assign a second image to every ECU',
    parameters: {},
    ...raises,
  },
  'director-delegates': {
    stages: ['director-metadata'],
    attack: 'arbitrary software',
    what: 'Director targets carry a delegation, which only the Image repository may',
    parameters: {},
    ...raises,
  },
  'wrong-vehicle-id': {
    stages: ['director-metadata'],
    attack: 'replay',
    what: 'Director targets carry the vehicle id of another device',
    parameters: { vehicleId: 'another-device' },
    ...raises,
  },
  'image-hash-mismatch': {
    stages: ['director-metadata'],
    attack: 'mix-and-match',
    what: 'Director targets give other hashes than the Image repository, validly signed',
    parameters: {},
    ...raises,
  },
  ...ENCRYPTION_FAULTS,
  'signature-invalid': {
    stages: ['image-metadata', 'director-metadata'],
    attack: 'arbitrary software',
    what: 'one bit of the signatures is wrong; `role` narrows it to targets, snapshot or timestamp, `repo` to director or image',
    parameters: { role: '', repo: '' },
    ...raises,
  },
  'root-not-signed-by-old': {
    stages: ['image-metadata', 'director-metadata'],
    attack: 'arbitrary software',
    what: 'the next root is offered, signed by its own new key only; `repo` narrows it to director or image',
    parameters: { repo: '' },
  },
  'metadata-oversized': {
    stages: ['metadata-bytes'],
    attack: 'endless data',
    what: 'metadata is followed by blanks up to `bytes`; `file` narrows it to one file name',
    parameters: { bytes: 9 * 1024 * 1024, file: '' },
  },
  'metadata-garbage': {
    stages: ['metadata-bytes'],
    attack: 'nuisance',
    what: 'a captive portal answers 200 with HTML instead of metadata; `file` narrows it to one file name',
    parameters: { file: '' },
  },
  'metadata-slow': {
    stages: ['metadata-bytes'],
    attack: 'slow retrieval',
    what: 'metadata comes at `bytesPerSecond`; `file` narrows it to one file name',
    parameters: { bytesPerSecond: 100, file: '' },
  },
  'image-bit-flip': {
    stages: ['image'],
    attack: 'arbitrary software',
    what: 'one bit of the image is wrong, at byte `at`',
    parameters: { at: 0, ...TIMES },
  },
  'image-truncated': {
    stages: ['image'],
    attack: 'nuisance',
    what: 'the image ends `missingBytes` early, as if it were complete',
    parameters: { missingBytes: 1, ...TIMES },
  },
  'image-endless': {
    stages: ['image'],
    attack: 'endless data',
    what: 'the image is followed by zeros until the client hangs up, at most `maxBytes`',
    parameters: { maxBytes: 1024 * 1024 * 1024, ...TIMES },
  },
  'image-slow': {
    stages: ['image'],
    attack: 'slow retrieval',
    what: 'the image comes at `bytesPerSecond`',
    parameters: { bytesPerSecond: 100, ...TIMES },
  },
  'image-reset': {
    stages: ['image'],
    attack: 'nuisance',
    what: 'the connection is reset after `afterBytes` of the answer',
    parameters: { afterBytes: 1024, ...TIMES },
  },
  'image-missing': {
    stages: ['image'],
    attack: 'drop request',
    what: 'the image is not found',
    parameters: { ...TIMES },
  },
  'treehub-bit-flip': {
    stages: ['treehub'],
    attack: 'arbitrary software',
    what: 'one bit of files of the OSTree repository is wrong, at byte `at`; `file` is a part of their path',
    parameters: { at: 0, ...FILE, ...TIMES },
  },
  'treehub-truncated': {
    stages: ['treehub'],
    attack: 'nuisance',
    what: 'files of the OSTree repository end `missingBytes` early, as if they were complete; `file` as above',
    parameters: { missingBytes: 1, ...FILE, ...TIMES },
  },
  'treehub-endless': {
    stages: ['treehub'],
    attack: 'endless data',
    what: 'files of the OSTree repository are followed by zeros, at most `maxBytes`; `file` as above',
    parameters: { maxBytes: 1024 * 1024 * 1024, ...FILE, ...TIMES },
  },
  'treehub-slow': {
    stages: ['treehub'],
    attack: 'slow retrieval',
    what: 'files of the OSTree repository come at `bytesPerSecond`; `file` as above',
    parameters: { bytesPerSecond: 100, ...FILE, ...TIMES },
  },
  'treehub-reset': {
    stages: ['treehub'],
    attack: 'nuisance',
    what: 'the connection is reset after `afterBytes` of a file of the OSTree repository; `file` as above',
    parameters: { afterBytes: 16, ...FILE, ...TIMES },
  },
  'treehub-missing': {
    stages: ['treehub'],
    attack: 'drop request',
    what: 'files of the OSTree repository are not found; `file` as above',
    parameters: { ...FILE, ...TIMES },
  },
  'time-replay': {
    stages: ['time'],
    attack: 'freeze',
    what: 'the time server sends its first answer to this device again and again',
    parameters: {},
  },
  'time-wrong-nonce': {
    stages: ['time'],
    attack: 'freeze',
    what: 'the time server signs the right time for a nonce that nobody sent',
    parameters: {},
  },
  'time-wrong-key': {
    stages: ['time'],
    attack: 'freeze',
    what: 'the right time for the right nonce, signed by a key of nobody',
    parameters: {},
  },
  'time-past': {
    stages: ['time'],
    attack: 'freeze',
    what: 'the time server signs a time that is `seconds` ago',
    parameters: { seconds: 315_360_000 },
  },
  'time-future': {
    stages: ['time'],
    attack: 'freeze',
    what: 'the time server signs a time in `seconds`: all metadata seems to have expired',
    parameters: { seconds: 3_153_600_000 },
  },
  'http-500': {
    stages: ['answer'],
    attack: 'drop request',
    what: 'requests whose path starts with `path` are answered 500',
    parameters: { path: '/', ...TIMES },
  },
  'http-503': {
    stages: ['answer'],
    attack: 'drop request',
    what: 'requests whose path starts with `path` are answered 503 with Retry-After',
    parameters: { path: '/', retryAfterSeconds: 1, ...TIMES },
  },
  'events-301': {
    stages: ['answer'],
    attack: 'nuisance',
    what: 'POST /events is redirected to /events/ with 301, as some gateways do',
    parameters: { ...TIMES },
  },
} as const satisfies Readonly<Record<string, FaultRow>>;

export type FaultName = keyof typeof FAULTS;

export interface ActiveFault {
  readonly name: FaultName;
  /** Only for this device; absent: for all. */
  readonly device?: string;
  readonly parameters: Parameters;
}

export function rowOf(name: FaultName): FaultRow {
  return FAULTS[name];
}

/** @throws Refusal 404 `fault_not_found` with the names there are */
export function faultName(name: string): FaultName {
  if (Object.hasOwn(FAULTS, name)) return name as FaultName;
  const known = Object.keys(FAULTS).join(', ');
  throw new Refusal(404, 'fault_not_found', `no fault ${name}; there are ${known}`);
}

/** The list of faults as README.md has it. */
export function faultTable(): string {
  const rows = Object.entries(FAULTS).map(([name, row]: [string, FaultRow]) => {
    const parameters = Object.entries(row.parameters).map(
      ([parameter, value]) => `\`${parameter}=${String(value)}\``,
    );
    return `| \`${name}\` | ${row.attack} | ${row.what} | ${parameters.join(' ')} |`;
  });
  return ['| fault | attack | what goes out | parameters |', '|---|---|---|---|', ...rows].join(
    '\n',
  );
}
