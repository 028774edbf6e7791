/**
 * How a certificate or a key takes the place of another, as a state machine: nothing here acts.
 *
 * The intent is on disk before every effect, so a power cut at any instant leaves a step that can be
 * done again. What is in use is destroyed in one step alone, and only after the gateway has accepted
 * what replaces it; what was new is given up in one step alone, and where somebody outside may know it,
 * only after the gateway has accepted the old one once more.
 */
import type { FailureCode } from '../agent/errors.ts';
import type { Instant } from '../agent/uptane/time.ts';

/** `certificate`: another one for the same TLS key. `tls`, `uptane`: another key. */
export const SUBJECTS = ['certificate', 'tls', 'uptane'] as const;
export type Subject = (typeof SUBJECTS)[number];

export const STEPS = [
  /** The new key is made in the token. */
  'making',
  /** The CA is asked for a certificate. */
  'certifying',
  /** The Director is told the new key. */
  'registering',
  /** The gateway is shown the new one. */
  'proving-new',
  /** The new one was refused: does the old one still count? */
  'proving-old',
  'removing-old',
  'removing-new',
] as const;
export type Step = (typeof STEPS)[number];

export interface Failure {
  readonly code: FailureCode;
  readonly details: Readonly<Record<string, string | number>>;
}

/** A rotation under way; all that is remembered of it. */
export interface Rotation {
  readonly of: Subject;
  readonly at: Step;
  readonly startedAt: Instant;
  /** CKA_ID of the key in use and of the one to come, hex; the same if the key stays. */
  readonly oldKey: string;
  readonly newKey: string;
  /** SHA-256 of the certificate in use at the start, hex; empty for the Uptane key. */
  readonly oldCertificate: string;
  /** Why the old one stays in use. */
  readonly failure?: Failure;
}

/** What happened at a step. `failure`: why the new one is not taken. */
export type Event =
  | { readonly type: 'made' | 'certified' | 'registered' | 'removed' }
  | { readonly type: 'refused'; readonly failure: Failure }
  | { readonly type: 'proved'; readonly which: 'new' }
  | { readonly type: 'proved'; readonly which: 'old'; readonly failure: Failure }
  | { readonly type: 'cancelled' };

export type Which = 'old' | 'new';

const FIRST: Readonly<Record<Subject, Step>> = {
  certificate: 'certifying',
  tls: 'making',
  uptane: 'making',
};

export function begin(rotation: Omit<Rotation, 'at'>): Rotation {
  return { ...rotation, at: FIRST[rotation.of] };
}

/** Which key and certificate the device uses at a step, until the gateway has decided. */
export function inUse({ at }: Pick<Rotation, 'at'>): Which {
  return at === 'removing-old' ? 'new' : 'old';
}

/** Whether the step may be left on request: nobody outside depends on the new one yet. */
export function isCancellable({ at }: Pick<Rotation, 'at'>): boolean {
  return at === 'making' || at === 'certifying';
}

/**
 * The step that follows, or `undefined` when the rotation is over.
 *
 * @throws Error for an event that cannot happen at that step
 */
export function next(rotation: Rotation, event: Event): Rotation | undefined {
  switch (event.type) {
    case 'made':
      expectAt(rotation, 'making');
      return { ...rotation, at: rotation.of === 'uptane' ? 'registering' : 'certifying' };
    case 'certified':
      expectAt(rotation, 'certifying');
      return { ...rotation, at: 'proving-new' };
    case 'registered':
      expectAt(rotation, 'registering');
      return { ...rotation, at: 'proving-new' };
    case 'refused':
      return refused(rotation, event.failure);
    case 'proved':
      expectAt(rotation, 'proving-new', 'proving-old');
      return event.which === 'new'
        ? { ...withoutFailure(rotation), at: 'removing-old' }
        : { ...rotation, at: 'removing-new', failure: event.failure };
    case 'removed':
      expectAt(rotation, 'removing-old', 'removing-new');
      return undefined;
    case 'cancelled':
      expectAt(rotation, 'making', 'certifying');
      return { ...rotation, at: 'removing-new', failure: CANCELLED };
  }
}

/** A key or certificate that nobody was told of goes at once; a Director may have heard of a key. */
function refused(rotation: Rotation, failure: Failure): Rotation {
  expectAt(rotation, 'making', 'certifying', 'registering');
  const at = rotation.at === 'registering' ? 'proving-old' : 'removing-new';
  return { ...rotation, at, failure };
}

const CANCELLED: Failure = {
  code: 'USAGE',
  details: { what: 'cancelled on request', remedy: 'ask for it again when it is wanted' },
};

function withoutFailure(rotation: Rotation): Rotation {
  const { of, at, startedAt, oldKey, newKey, oldCertificate } = rotation;
  return { of, at, startedAt, oldKey, newKey, oldCertificate };
}

function expectAt({ at }: Rotation, ...steps: readonly Step[]): void {
  if (!steps.includes(at)) throw new Error(`that does not happen at ${at}`);
}
