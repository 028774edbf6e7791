/** What is remembered of rotations, as text: written whole, so a step and what it means change together. */
import { Fields, parseJson } from '../agent/decode.ts';
import { isFailureCode, isOtaError, OtaError } from '../agent/errors.ts';
import type { IdentityChoice } from '../agent/io/token/identity.ts';
import { TLS_KEY, UPTANE_KEY } from '../agent/io/token/cryptoki.ts';
import { nameOf } from '../agent/io/token/generations.ts';
import type { Instant } from '../agent/uptane/time.ts';
import type { ProvisioningRecord } from './record.ts';
import {
  inUse,
  STEPS,
  SUBJECTS,
  type Failure,
  type Rotation,
  type Step,
  type Subject,
} from './rotation.ts';

/** How the last rotation ended. */
export interface Ended {
  readonly of: Subject;
  readonly outcome: 'rotated' | 'undone';
  readonly endedAt: Instant;
  readonly failure?: Failure;
}

/** Instants by the best time that was known then. */
export interface RotationRecord {
  readonly rotation?: Rotation;
  /** Of the Uptane key, if it has to wait for a certificate that cannot. */
  readonly aside?: Rotation;
  readonly last?: Ended;
  /** Since when the certificate or key in use is known to be. */
  readonly since: Readonly<Partial<Record<Subject, Instant>>>;
  /** When it was last tried to replace it. */
  readonly tried: Readonly<Partial<Record<Subject, Instant>>>;
}

export const NOTHING_YET: RotationRecord = { since: {}, tried: {} };

export function formatRecord(record: RotationRecord): string {
  return JSON.stringify(record);
}

/**
 * Reads back what `formatRecord` wrote.
 *
 * @throws OtaError STORAGE_CORRUPT for anything else
 */
export function parseRecord(text: string | undefined): RotationRecord {
  if (text === undefined) return NOTHING_YET;
  try {
    return readRecord(new Fields(parseJson(Buffer.from(text), 'rotation'), 'rotation'));
  } catch (error) {
    if (!isOtaError(error)) throw error;
    const remedy = 'move the database aside and run ota-agent provision';
    const details = { path: 'rotation', cause: error.message, remedy };
    throw new OtaError('STORAGE_CORRUPT', details, { cause: error });
  }
}

/** Which key and certificate a device uses while one takes the place of another. */
export function choiceOf({ rotation, aside }: RotationRecord): IdentityChoice {
  const choices = [aside, rotation].flatMap((one) =>
    one === undefined ? [] : [choiceFor(one, inUse(one))],
  );
  return Object.assign({ is: 'preferred' as const }, ...choices) as IdentityChoice;
}

/** The old or the new side of a rotation. */
export function choiceFor(rotation: Rotation, which: 'old' | 'new'): IdentityChoice {
  const key = which === 'old' ? rotation.oldKey : rotation.newKey;
  if (rotation.of === 'uptane') return { uptane: nameOf(UPTANE_KEY, key), is: 'preferred' };
  const use = which === 'old' ? 'this' : 'another';
  return {
    tls: nameOf(TLS_KEY, key),
    certificate: { fingerprint: rotation.oldCertificate, use },
    is: 'preferred',
  };
}

/** Provisioning has put another certificate in the place of the one that was in use. */
export async function noteCertificate(
  record: ProvisioningRecord,
  fingerprint: string,
): Promise<void> {
  const before = parseRecord(await record.get('rotation'));
  const { rotation, ...rest } = before;
  if (rotation === undefined || rotation.of === 'uptane' || inUse(rotation) === 'new') return;
  // A renewal is done with that; a new TLS key goes on to replace what is in use now.
  const isDone = rotation.of === 'certificate';
  const changed = isDone ? {} : { rotation: { ...rotation, oldCertificate: fingerprint } };
  await record.put('rotation', formatRecord({ ...rest, ...changed }));
}

function readRecord(fields: Fields): RotationRecord {
  const rotation = fields.optionalObject('rotation');
  const aside = fields.optionalObject('aside');
  const last = fields.optionalObject('last');
  return {
    ...(rotation === undefined ? {} : { rotation: readRotation(rotation) }),
    ...(aside === undefined ? {} : { aside: readRotation(aside) }),
    ...(last === undefined ? {} : { last: readEnded(last) }),
    since: readInstants(fields.object('since')),
    tried: readInstants(fields.object('tried')),
  };
}

function readRotation(fields: Fields): Rotation {
  return {
    of: oneOf(SUBJECTS, fields, 'of'),
    at: oneOf<Step>(STEPS, fields, 'at'),
    startedAt: fields.integer('startedAt', 0) as Instant,
    oldKey: fields.string('oldKey'),
    newKey: fields.string('newKey'),
    oldCertificate: fields.string('oldCertificate'),
    ...readFailure(fields),
  };
}

function readEnded(fields: Fields): Ended {
  return {
    of: oneOf(SUBJECTS, fields, 'of'),
    outcome: oneOf(['rotated', 'undone'] as const, fields, 'outcome'),
    endedAt: fields.integer('endedAt', 0) as Instant,
    ...readFailure(fields),
  };
}

function readFailure(fields: Fields): { readonly failure?: Failure } {
  const failure = fields.optionalObject('failure');
  if (failure === undefined) return {};
  const code = failure.string('code');
  if (!isFailureCode(code)) throw wrong(failure, 'code', 'a failure code');
  const details = [...failure.object('details').entries()].map(
    ([name, value]) => [name, typeof value === 'number' ? value : String(value)] as const,
  );
  return { failure: { code, details: Object.fromEntries(details) } };
}

function readInstants(fields: Fields): Partial<Record<Subject, Instant>> {
  return Object.fromEntries(
    SUBJECTS.filter((subject) => fields.has(subject)).map((subject) => [
      subject,
      fields.integer(subject, 0) as Instant,
    ]),
  );
}

function oneOf<T extends string>(allowed: readonly T[], fields: Fields, name: string): T {
  const text = fields.string(name);
  const found = allowed.find((one) => one === text);
  if (found === undefined) throw wrong(fields, name, `one of ${allowed.join(', ')}`);
  return found;
}

function wrong(fields: Fields, name: string, want: string): OtaError<'METADATA_MALFORMED'> {
  return new OtaError('METADATA_MALFORMED', { path: fields.at(name), want });
}
