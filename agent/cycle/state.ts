/** The cycle's state as text: what `machine.ts` decides on, written so that any later agent reads it. */
import { createHash } from 'node:crypto';

import { Fields, parseJson } from '../decode.ts';
import { isFailureCode, isOtaError, OtaError } from '../errors.ts';
import type { InstalledImage } from '../uptane/inventory.ts';
import type { Encrypted } from '../uptane/encrypted.ts';
import { COMPRESSIONS, type Compressed, type Target } from '../uptane/plan.ts';
import { trust } from '../uptane/trust.ts';
import type { Failure, Plan, Result, State } from './machine.ts';

export function formatState(state: State): string {
  return text(state);
}

export function formatResult(result: Result): string {
  return text(result);
}

function text(value: State | Result): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member instanceof Map ? Object.fromEntries<unknown>(member) : member,
  );
}

/**
 * Reads back what `formatState` wrote.
 *
 * Targets come out trusted: they were when they went in, and the storage is ours alone. Their hashes
 * are checked again on every image before it is chosen.
 *
 * @throws OtaError STORAGE_CORRUPT for anything else
 */
export function parseState(text: string): State {
  try {
    return readState(new Fields(parseJson(Buffer.from(text), 'cycle_state'), 'cycle_state'));
  } catch (error) {
    if (!isOtaError(error)) throw error;
    const remedy = 'move the database aside and run ota-agent provision';
    throw new OtaError(
      'STORAGE_CORRUPT',
      { path: 'cycle_state', cause: error.message, remedy },
      { cause: error },
    );
  }
}

/** A result that is told later, as `formatResult` wrote it. @throws OtaError STORAGE_CORRUPT */
export function parseResult(text: string): Result {
  const state = parseState(`{"at":"reporting","result":${text}}`);
  return (state as Extract<State, { at: 'reporting' }>).result;
}

/** Names a plan by what it installs where and why, to know it again at the next poll: a name per image. */
export function planDigest({ correlationId, targets }: Plan): string {
  return targets
    .map(({ ecu, filename, hashes }) =>
      JSON.stringify([correlationId ?? '', ecu, filename, ...hashes]),
    )
    .map((facts) => createHash('sha256').update(facts).digest('hex'))
    .join(' ');
}

/** Whether all of a plan is in the other: what is left of a plan that went well in part is no new one. */
export function isPartOf(digest: string, whole: string | undefined): boolean {
  const names = new Set(whole?.split(' '));
  return digest.split(' ').every((name) => names.has(name));
}

/** Names an image on an ECU by its content, whatever the update is that brings it. */
export function imageName({ ecu, hashes }: Target): string {
  return [ecu, ...[...hashes].map((entry) => entry.join(':'))].join(' ');
}

/** What runs on the target's ECU once it is confirmed. */
export function installedBy(target: Target): InstalledImage {
  const { ecu, filename, lengthBytes, hashes, releaseCounter } = target;
  const image = { ecu, filename, lengthBytes, hashes };
  return releaseCounter === undefined ? image : { ...image, releaseCounter };
}

function readState(fields: Fields): State {
  const at = fields.string('at');
  const resting = readResting(at, fields);
  if (resting !== undefined) return resting;
  switch (at) {
    case 'downloading':
      return { at, plan: readPlan(fields), attempt: fields.integer('attempt', 1) };
    case 'writing':
      return { at, plan: readPlan(fields), attempt: readAttempt(fields) };
    case 'activating':
      return { at, ...readBooted(fields), attempt: readAttempt(fields) };
    case 'awaiting-boot':
      return { at, ...readBooted(fields) };
    case 'confirming':
      return {
        at,
        ...readBooted(fields),
        boots: fields.optionalInteger('boots', 0) ?? 1,
        sinceMs: fields.optionalInteger('sinceMs', 0),
      };
    case 'rolling-back':
      return {
        at,
        ...readFailed(fields),
        attempt: readAttempt(fields),
        untriedBootId: fields.optionalString('untriedBootId'),
      };
    case 'returning':
      return {
        at,
        ...readFailed(fields),
        attempt: readAttempt(fields),
        bootId: fields.string('bootId'),
      };
    case 'reporting':
      return { at, result: readResult(fields.object('result')) };
    default:
      throw new OtaError('METADATA_MALFORMED', { path: fields.at('at'), want: 'a state' });
  }
}

function readBooted(fields: Fields): { readonly plan: Plan; readonly bootId: string } {
  return { plan: readPlan(fields), bootId: fields.string('bootId') };
}

function readFailed(fields: Fields): { readonly plan: Plan; readonly failure: Failure } {
  return { plan: readPlan(fields), failure: readFailure(fields.object('failure')) };
}

/** The states in which nothing is under way. */
function readResting(at: string, fields: Fields): State | undefined {
  if (at === 'idle') return { at };
  if (at === 'paused') return { at, plan: readPlan(fields) };
  return at === 'holding' ? { at, plan: readPlan(fields), before: readStep(fields) } : undefined;
}

function readStep(fields: Fields): 'download' | 'install' {
  const before = fields.string('before');
  if (before === 'download' || before === 'install') return before;
  throw new OtaError('METADATA_MALFORMED', { path: fields.at('before'), want: 'a step' });
}

/** The first versions did not count. */
function readAttempt(fields: Fields): number {
  return fields.optionalInteger('attempt', 1) ?? 1;
}

function readResult(fields: Fields): Result {
  const failure = fields.optionalObject('failure');
  return {
    plan: readPlan(fields),
    failure: failure === undefined ? undefined : readFailure(failure),
    kept: fields.has('kept') ? fields.strings('kept') : [],
  };
}

function readFailure(fields: Fields): Failure {
  const code = fields.string('code');
  if (!isFailureCode(code)) {
    throw new OtaError('METADATA_MALFORMED', { path: fields.at('code'), want: 'a failure code' });
  }
  const details = [...fields.object('details').entries()].map(
    ([name, value]) => [name, typeof value === 'number' ? value : String(value)] as const,
  );
  const ecu = fields.optionalString('ecu');
  return {
    code,
    details: Object.fromEntries(details),
    description: fields.string('description'),
    ...(ecu === undefined ? {} : { ecu }),
  };
}

function readPlan(fields: Fields): Plan {
  const plan = fields.object('plan');
  const offline = plan.optionalObject('offline');
  return {
    correlationId: plan.optionalString('correlationId'),
    targets: plan.objects('targets').map((target) => trust(readTarget(target))),
    ...(offline && {
      offline: { source: offline.string('source'), lockbox: offline.string('lockbox') },
    }),
  };
}

/** @throws OtaError METADATA_MALFORMED */
export function readTarget(fields: Fields): Target {
  const uri = fields.optionalString('uri');
  const imageFile = fields.optionalString('imageFile');
  const format = fields.optionalString('format');
  const releaseCounter = fields.optionalInteger('releaseCounter', 0);
  const critical = fields.optionalBoolean('critical') ?? false;
  const compressed = fields.optionalObject('compressed');
  const encrypted = fields.optionalObject('encrypted');
  return {
    ecu: fields.string('ecu'),
    hardwareId: fields.string('hardwareId'),
    filename: fields.string('filename'),
    lengthBytes: fields.integer('lengthBytes', 0),
    hashes: readHashes(fields),
    ...(uri === undefined ? {} : { uri }),
    ...(imageFile === undefined ? {} : { imageFile }),
    ...(format === undefined ? {} : { format }),
    ...(releaseCounter === undefined ? {} : { releaseCounter }),
    ...(compressed === undefined ? {} : { compressed: readCompressed(compressed) }),
    ...(encrypted === undefined ? {} : { encrypted: readEncrypted(encrypted) }),
    ...(critical ? { critical } : {}),
  };
}

function readCompressed(fields: Fields): Compressed {
  const name = fields.string('by');
  const by = COMPRESSIONS.find((one) => one === name);
  if (by === undefined) {
    throw new OtaError('METADATA_MALFORMED', { path: fields.at('by'), want: 'a compression' });
  }
  return { by, lengthBytes: fields.integer('lengthBytes', 1), hashes: readHashes(fields) };
}

function readEncrypted(fields: Fields): Encrypted {
  return {
    chunkBytes: fields.integer('chunkBytes', 1),
    key: fields.string('key'),
    lengthBytes: fields.integer('lengthBytes', 0),
    hashes: readHashes(fields),
    uri: fields.optionalString('uri'),
  };
}

function readHashes(fields: Fields): ReadonlyMap<string, string> {
  const hashes = fields.object('hashes');
  return new Map([...hashes.entries()].map(([name]) => [name, hashes.string(name)]));
}
