/**
 * The update cycle as a table: where we are, what happened, where we go, what to do next.
 *
 * Pure. Whoever runs it saves the state this returns *before* performing the effect, so that after a
 * power cut `resume` sees the intent and can finish it or undo it.
 */
import { OtaError, type FailureCode } from '../errors.ts';
import type { TrustedTarget } from '../uptane/plan.ts';

/** One update as both repositories signed it. */
export interface Plan {
  /** Echoed to the Director in events and in the installation report. */
  readonly correlationId: string | undefined;
  /** In the order of installation; never empty. */
  readonly targets: readonly TrustedTarget[];
}

/** Why an update ended badly: the stable code, its facts, and both in one line. */
export interface Failure {
  readonly code: FailureCode;
  readonly details: Readonly<Record<string, string | number>>;
  readonly description: string;
}

/** How an update ended; kept until the Director has been told. */
export interface Result {
  readonly plan: Plan;
  /** Absent when it succeeded. */
  readonly failure: Failure | undefined;
}

export type State =
  | { readonly at: 'idle' }
  | { readonly at: 'downloading'; readonly plan: Plan; readonly attempt: number }
  | { readonly at: 'writing'; readonly plan: Plan }
  | { readonly at: 'activating'; readonly plan: Plan; readonly bootId: string }
  | { readonly at: 'awaiting-boot'; readonly plan: Plan; readonly bootId: string }
  | { readonly at: 'confirming'; readonly plan: Plan; readonly bootId: string }
  | { readonly at: 'rolling-back'; readonly plan: Plan; readonly failure: Failure }
  | { readonly at: 'reporting'; readonly result: Result };

export type Event =
  | { readonly type: 'planned'; readonly plan: Plan }
  | { readonly type: 'downloaded' }
  /** `postpone`: the way is bad, not the image; a later poll resumes what is there. */
  | {
      readonly type: 'download-failed';
      readonly failure: Failure;
      readonly advice: 'retry' | 'postpone' | 'give-up';
    }
  | { readonly type: 'written'; readonly bootId: string }
  | { readonly type: 'install-failed'; readonly failure: Failure }
  | { readonly type: 'activated'; readonly takesEffect: 'now' | 'after-reboot' }
  | { readonly type: 'booted'; readonly image: 'new' | 'old'; readonly bootId: string }
  | { readonly type: 'confirmed' }
  | { readonly type: 'rolled-back' }
  | { readonly type: 'roll-back-requested' }
  | { readonly type: 'reported' };

export type Effect =
  | { readonly do: 'download'; readonly plan: Plan; readonly attempt: number }
  | { readonly do: 'write'; readonly plan: Plan }
  | { readonly do: 'activate'; readonly plan: Plan }
  | { readonly do: 'reboot'; readonly plan: Plan }
  | { readonly do: 'check-boot'; readonly plan: Plan }
  | { readonly do: 'confirm'; readonly plan: Plan }
  | { readonly do: 'roll-back'; readonly plan: Plan; readonly failure: Failure }
  | { readonly do: 'report'; readonly result: Result }
  | { readonly do: 'wait' };

export interface Step {
  readonly state: State;
  readonly effect: Effect;
}

/**
 * The next step of the cycle.
 *
 * @throws OtaError BUG if `event` cannot happen in `state`
 */
export function next(state: State, event: Event): Step {
  const step = TRANSITIONS[event.type](state, event as never);
  if (step === undefined) throw new OtaError('BUG', { what: `${event.type} while ${state.at}` });
  return step;
}

type Transition<E> = (state: State, event: E) => Step | undefined;
type Transitions = { readonly [T in Event['type']]: Transition<Extract<Event, { type: T }>> };

const TRANSITIONS: Transitions = {
  planned: (state, { plan }) => (state.at === 'idle' ? download(plan, 1) : undefined),

  downloaded: (state) =>
    state.at === 'downloading'
      ? { state: { at: 'writing', plan: state.plan }, effect: { do: 'write', plan: state.plan } }
      : undefined,

  'download-failed': (state, { failure, advice }) => {
    if (state.at !== 'downloading') return undefined;
    if (advice === 'give-up') return report({ plan: state.plan, failure });
    if (advice === 'postpone') return { state: { at: 'idle' }, effect: { do: 'wait' } };
    return download(state.plan, state.attempt + 1);
  },

  written: (state, { bootId }) =>
    state.at === 'writing' ? activate(state.plan, bootId) : undefined,

  'install-failed': (state, { failure }) => {
    if (state.at !== 'writing' && state.at !== 'activating') return undefined;
    return rollBack(state.plan, failure);
  },

  activated: (state, { takesEffect }) => {
    if (state.at !== 'activating') return undefined;
    const { plan, bootId } = state;
    return takesEffect === 'now'
      ? confirm(plan, bootId)
      : { state: { at: 'awaiting-boot', plan, bootId }, effect: { do: 'reboot', plan } };
  },

  booted: (state, { image, bootId }) => {
    if (state.at !== 'awaiting-boot' && state.at !== 'activating' && state.at !== 'confirming') {
      return undefined;
    }
    const { plan } = state;
    if (image === 'new') return confirm(plan, bootId);
    // The power may have failed before the new image was chosen: then nothing has been tried yet.
    if (state.at === 'activating') return activate(plan, bootId);
    return rollBack(plan, rolledBack(plan, 'the boot loader fell back to the previous image'));
  },

  confirmed: (state) =>
    state.at === 'confirming' ? report({ plan: state.plan, failure: undefined }) : undefined,

  'rolled-back': (state) =>
    state.at === 'rolling-back' ? report({ plan: state.plan, failure: state.failure }) : undefined,

  'roll-back-requested': (state) => {
    if (state.at !== 'awaiting-boot' && state.at !== 'confirming') return undefined;
    return rollBack(state.plan, rolledBack(state.plan, 'the operator asked for it'));
  },

  reported: (state) =>
    state.at === 'reporting' ? { state: { at: 'idle' }, effect: { do: 'wait' } } : undefined,
};

/** What to do when the agent starts and finds `state` on disk. Total: every state has an answer. */
export function resume(state: State, bootId: string): Effect {
  switch (state.at) {
    case 'idle':
      return { do: 'wait' };
    case 'downloading':
      return { do: 'download', plan: state.plan, attempt: state.attempt };
    case 'writing':
      // Writing only ever touches what does not run, and starts over: doing it again is the recovery.
      return { do: 'write', plan: state.plan };
    case 'activating':
      return { do: state.bootId === bootId ? 'activate' : 'check-boot', plan: state.plan };
    case 'awaiting-boot':
      return { do: state.bootId === bootId ? 'reboot' : 'check-boot', plan: state.plan };
    case 'confirming':
      // Another boot may have gone back to the image before: confirming it would be a lie.
      return { do: state.bootId === bootId ? 'confirm' : 'check-boot', plan: state.plan };
    case 'rolling-back':
      return { do: 'roll-back', plan: state.plan, failure: state.failure };
    case 'reporting':
      return { do: 'report', result: state.result };
  }
}

function download(plan: Plan, attempt: number): Step {
  return { state: { at: 'downloading', plan, attempt }, effect: { do: 'download', plan, attempt } };
}

function rolledBack(plan: Plan, cause: string): Failure {
  const error = new OtaError('ROLLED_BACK', { ecu: plan.targets[0]?.ecu ?? '', cause });
  return { code: error.code, details: { ...error.details }, description: error.message };
}

function activate(plan: Plan, bootId: string): Step {
  return { state: { at: 'activating', plan, bootId }, effect: { do: 'activate', plan } };
}

function confirm(plan: Plan, bootId: string): Step {
  return { state: { at: 'confirming', plan, bootId }, effect: { do: 'confirm', plan } };
}

function rollBack(plan: Plan, failure: Failure): Step {
  return {
    state: { at: 'rolling-back', plan, failure },
    effect: { do: 'roll-back', plan, failure },
  };
}

function report(result: Result): Step {
  return { state: { at: 'reporting', result }, effect: { do: 'report', result } };
}
