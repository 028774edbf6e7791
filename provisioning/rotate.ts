/** Performs a rotation: decide, remember, act, repeat, until it is over or has to wait. */
import { isOtaError, type AnyOtaError } from '../agent/errors.ts';
import { next, type Event, type Failure, type Rotation, type Which } from './rotation.ts';

/** What a rotation does to the world. Each may be called again after a power cut anywhere in it. */
export interface Hands {
  /** Makes the new key in the token. */
  make(rotation: Rotation): Promise<void>;
  /**
   * Gets a certificate for the new key, or another one for the same, and stores it beside the old one.
   *
   * @throws OtaError also where a person has to bring it first: NOT_PROVISIONED
   */
  certify(rotation: Rotation): Promise<void>;
  /** Tells the Director the new key. */
  register(rotation: Rotation): Promise<void>;
  /** Has the gateway accept the old or the new one, for real, or throws what it said. */
  prove(rotation: Rotation, which: Which): Promise<void>;
  /** Destroys the old or the new one, after the other one is what this process uses. */
  remove(rotation: Rotation, which: Which): Promise<void>;
}

/** Where a rotation came to rest. */
export type Rest =
  | { readonly is: 'rotated' }
  | { readonly is: 'undone'; readonly failure: Failure }
  /** It goes on at the next cycle; nothing is lost. */
  | { readonly is: 'waiting'; readonly rotation: Rotation; readonly why: AnyOtaError };

/** On disk when it resolves; `undefined`: the rotation of before is over. */
export type Save = (after: Rotation | undefined, before: Rotation) => Promise<void>;

/**
 * Takes a rotation as far as it goes now.
 *
 * @param rotation - on disk already
 */
export async function drive(rotation: Rotation, hands: Hands, save: Save): Promise<Rest> {
  let at = rotation;
  for (;;) {
    const happened = await perform(at, hands);
    if ('why' in happened) return { is: 'waiting', rotation: at, why: happened.why };
    const after = next(at, happened);
    await save(after, at);
    if (after === undefined) return restOf(at);
    at = after;
  }
}

function restOf({ at, failure }: Rotation): Rest {
  if (at === 'removing-old' || failure === undefined) return { is: 'rotated' };
  return { is: 'undone', failure };
}

type Happened = Event | { readonly why: AnyOtaError };

async function perform(rotation: Rotation, hands: Hands): Promise<Happened> {
  switch (rotation.at) {
    case 'making':
      return attempt(() => hands.make(rotation), { type: 'made' });
    case 'certifying':
      return attempt(() => hands.certify(rotation), { type: 'certified' });
    case 'registering':
      return attempt(() => hands.register(rotation), { type: 'registered' });
    case 'proving-new':
      return proveNewFirst(rotation, hands);
    case 'proving-old':
      return proveOldFirst(rotation, hands);
    case 'removing-old':
      return remove(rotation, 'old', hands);
    case 'removing-new':
      return remove(rotation, 'new', hands);
  }
}

/** The new one was offered: it counts unless it is refused while the old one is not. */
async function proveNewFirst(rotation: Rotation, hands: Hands): Promise<Happened> {
  const wrong = await failureOf(() => hands.prove(rotation, 'new'));
  if (wrong === undefined) return { type: 'proved', which: 'new' };
  if (isForNow(wrong)) return { why: wrong };
  const alsoWrong = await failureOf(() => hands.prove(rotation, 'old'));
  if (alsoWrong !== undefined) return { why: wrong };
  return { type: 'proved', which: 'old', failure: describe(wrong) };
}

/** The Director refused the new key; yet an earlier request, whose answer was lost, may have counted. */
async function proveOldFirst(rotation: Rotation, hands: Hands): Promise<Happened> {
  const wrong = await failureOf(() => hands.prove(rotation, 'old'));
  if (wrong === undefined) {
    const failure = rotation.failure ?? { code: 'ENROLMENT_REFUSED', details: {} };
    return { type: 'proved', which: 'old', failure };
  }
  if (isForNow(wrong)) return { why: wrong };
  const alsoWrong = await failureOf(() => hands.prove(rotation, 'new'));
  return alsoWrong === undefined ? { type: 'proved', which: 'new' } : { why: wrong };
}

async function remove(rotation: Rotation, which: Which, hands: Hands): Promise<Happened> {
  const wrong = await failureOf(() => hands.remove(rotation, which));
  return wrong === undefined ? { type: 'removed' } : { why: wrong };
}

/** NOT_PROVISIONED: a person has to bring something first. */
async function attempt(act: () => Promise<void>, done: Event): Promise<Happened> {
  const wrong = await failureOf(act);
  if (wrong === undefined) return done;
  const waits = isForNow(wrong) || wrong.code === 'NOT_PROVISIONED';
  return waits ? { why: wrong } : { type: 'refused', failure: describe(wrong) };
}

async function failureOf(act: () => Promise<void>): Promise<AnyOtaError | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
    return error;
  }
}

/** Whether trying again later may end otherwise: then nothing is given up. */
function isForNow(error: AnyOtaError): boolean {
  switch (error.code) {
    case 'GATEWAY_ANSWER':
    case 'ENROLMENT_REFUSED':
      return error.details.status >= 500 || error.details.status === ACCEPTED_FOR_LATER;
    case 'GATEWAY_TLS':
      return false;
    case 'TOKEN_ABSENT':
    case 'TOKEN_FAILED':
    case 'TOKEN_LOCKED':
    case 'TOKEN_PIN_INCORRECT':
    case 'TOKEN_PIN_MISSING':
    case 'STORAGE_FAILED':
      return true;
    default:
      return error.handling.kind === 'transport';
  }
}

/** A CA that lets somebody approve requests: RFC 7030 §4.2.3. */
const ACCEPTED_FOR_LATER = 202;

function describe({ code, details }: AnyOtaError): Failure {
  return { code, details: { ...details } };
}
