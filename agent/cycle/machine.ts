/**
 * The update cycle as a table: where we are, what happened, where we go, what to do next.
 *
 * Pure. Whoever runs it saves the state this returns *before* performing the effect, so that after a
 * power cut `resume` sees the intent and can finish it or undo it.
 */
import { OtaError, type FailureCode } from '../errors.ts';
import type { OfflineSource } from '../uptane/offline.ts';
import type { TrustedTarget } from '../uptane/plan.ts';

/** One update as both repositories signed it. */
export interface Plan {
  /** Echoed to the Director in events and in the installation report. */
  readonly correlationId: string | undefined;
  /** In the order of installation; never empty. */
  readonly targets: readonly TrustedTarget[];
  /** Where its images are, if not at the repositories. */
  readonly offline?: OfflineSource;
}

/** Why an update ended badly: the stable code, its facts, and both in one line. */
export interface Failure {
  readonly code: FailureCode;
  readonly details: Readonly<Record<string, string | number>>;
  readonly description: string;
  /** The ECU that failed; absent where it was no single one. */
  readonly ecu?: string;
}

/** How an update ended; kept until the Director has been told. */
export interface Result {
  readonly plan: Plan;
  /** Absent when it succeeded. */
  readonly failure: Failure | undefined;
  /** ECUs that run what was planned although the update failed: it could not be taken back. */
  readonly kept: readonly string[];
}

export type State =
  | { readonly at: 'idle' }
  | { readonly at: 'downloading'; readonly plan: Plan; readonly attempt: number }
  /** A person stopped the download; a person lets it go on, or the Director wants something else. */
  | { readonly at: 'paused'; readonly plan: Plan }
  /** Something has to come first: a window, consent, the end of what inhibits it. */
  | { readonly at: 'holding'; readonly plan: Plan; readonly before: 'download' | 'install' }
  | { readonly at: 'writing'; readonly plan: Plan; readonly attempt: number }
  | {
      readonly at: 'activating';
      readonly plan: Plan;
      readonly bootId: string;
      readonly attempt: number;
    }
  | { readonly at: 'awaiting-boot'; readonly plan: Plan; readonly bootId: string }
  | {
      readonly at: 'confirming';
      readonly plan: Plan;
      readonly bootId: string;
      /** Boots of the new images so far. */
      readonly boots: number;
      /** Uptime of this boot at which it was first asked whether it is healthy. */
      readonly sinceMs: number | undefined;
    }
  | {
      readonly at: 'rolling-back';
      readonly plan: Plan;
      readonly failure: Failure;
      readonly attempt: number;
      /** In this boot nothing runs yet that only a reboot takes back. */
      readonly untriedBootId: string | undefined;
    }
  /** The images before are chosen, and run after a reboot. */
  | {
      readonly at: 'returning';
      readonly plan: Plan;
      readonly failure: Failure;
      readonly attempt: number;
      readonly bootId: string;
    }
  | { readonly at: 'reporting'; readonly result: Result };

/** Which boot this is, and how long ago it was. */
export interface ThisBoot {
  readonly bootId: string;
  readonly uptimeMs: number;
}

export type Event =
  | { readonly type: 'planned'; readonly plan: Plan }
  | { readonly type: 'downloaded' }
  /** `postpone`: the way is bad, not the image; a later poll resumes what is there. */
  | {
      readonly type: 'download-failed';
      readonly failure: Failure;
      readonly advice: 'retry' | 'postpone' | 'give-up';
    }
  /** It has to wait before the download, or before what is downloaded is written. */
  | { readonly type: 'held'; readonly plan: Plan }
  | { readonly type: 'released' }
  | { readonly type: 'pause-requested' }
  | { readonly type: 'resume-requested' }
  | { readonly type: 'abort-requested' }
  /** What is downloaded, paused or waits is not wanted any more. */
  | { readonly type: 'withdrawn' }
  | { readonly type: 'written'; readonly bootId: string }
  | { readonly type: 'install-failed'; readonly failure: Failure; readonly bootId: string }
  | {
      readonly type: 'activated';
      readonly takesEffect: 'now' | 'after-reboot';
      readonly uptimeMs: number;
    }
  /** `old`: the ECU does not run what was planned for it; `others` says whether any other does. */
  | ({ readonly type: 'booted'; readonly image: 'new' } & ThisBoot)
  | ({
      readonly type: 'booted';
      readonly image: 'old';
      readonly ecu: string;
      readonly others: 'new' | 'old';
    } & ThisBoot)
  | { readonly type: 'confirmed' }
  | { readonly type: 'unhealthy'; readonly failure: Failure }
  | { readonly type: 'rolled-back'; readonly kept: readonly string[] }
  | { readonly type: 'roll-back-chosen'; readonly bootId: string }
  | { readonly type: 'roll-back-failed' }
  | { readonly type: 'roll-back-requested' }
  /** `later`: it is kept, and told by a poll that reaches the Director. */
  | { readonly type: 'reported'; readonly later?: true };

export type Effect =
  | { readonly do: 'download'; readonly plan: Plan; readonly attempt: number }
  | { readonly do: 'write'; readonly plan: Plan }
  | { readonly do: 'activate'; readonly plan: Plan }
  | { readonly do: 'reboot'; readonly plan: Plan }
  | { readonly do: 'check-boot'; readonly plan: Plan }
  | { readonly do: 'confirm'; readonly plan: Plan; readonly sinceMs: number }
  | {
      readonly do: 'roll-back';
      readonly plan: Plan;
      readonly attempt: number;
      /** What fails now is left as it is. */
      readonly isLast: boolean;
      readonly untriedBootId: string | undefined;
    }
  /** Which images run is asked, and nothing is changed any more unless `retry` says so. */
  | { readonly do: 'check-return'; readonly plan: Plan; readonly retry: boolean }
  | { readonly do: 'report'; readonly result: Result }
  | { readonly do: 'wait' };

export interface Step {
  readonly state: State;
  readonly effect: Effect;
}

/** Tries of one step, failed or cut short: what never ends well must end. */
const MAX_ATTEMPTS = 5;
/** Boot loaders count down from less; this counts where none does. */
const MAX_TRIAL_BOOTS = 20;

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
  downloaded: (state) => (state.at === 'downloading' ? write(state.plan, 1) : undefined),
  'download-failed': (state, { failure, advice }) => {
    if (state.at !== 'downloading') return undefined;
    if (advice === 'give-up') return ended(state.plan, failure);
    if (advice === 'postpone') return IDLE;
    return download(state.plan, state.attempt + 1);
  },
  held: (state, { plan }) => {
    if (state.at !== 'idle' && state.at !== 'downloading') return undefined;
    const before = state.at === 'idle' ? 'download' : 'install';
    return { state: { at: 'holding', plan, before }, effect: { do: 'wait' } };
  },

  released: (state) => {
    if (state.at !== 'holding') return undefined;
    return state.before === 'download' ? download(state.plan, 1) : write(state.plan, 1);
  },

  'pause-requested': (state) =>
    state.at === 'downloading'
      ? { state: { at: 'paused', plan: state.plan }, effect: { do: 'wait' } }
      : undefined,
  'resume-requested': (state) => (state.at === 'paused' ? download(state.plan, 1) : undefined),

  'abort-requested': (state) => {
    if (!isUnwritten(state)) return undefined;
    return ended(state.plan, failureOf(new OtaError('UPDATE_ABORTED', { while: state.at })));
  },
  withdrawn: (state) => (isUnwritten(state) ? IDLE : undefined),

  written: (state, { bootId }) =>
    state.at === 'writing' ? activate(state.plan, bootId, 1) : undefined,

  'install-failed': (state, { failure, bootId }) => {
    if (state.at === 'writing') return rollBack(state.plan, failure, bootId);
    return state.at === 'activating' ? rollBack(state.plan, failure, state.bootId) : undefined;
  },

  activated: (state, { takesEffect, uptimeMs }) => {
    if (state.at !== 'activating') return undefined;
    const { plan, bootId } = state;
    return takesEffect === 'now'
      ? confirm(plan, { bootId, uptimeMs }, 0)
      : { state: { at: 'awaiting-boot', plan, bootId }, effect: { do: 'reboot', plan } };
  },

  booted: (state, event) => {
    if (state.at !== 'awaiting-boot' && state.at !== 'activating' && state.at !== 'confirming') {
      return undefined;
    }
    const { plan } = state;
    if (event.image === 'new') {
      const boots = state.at === 'confirming' ? state.boots + 1 : 1;
      if (boots <= MAX_TRIAL_BOOTS) return confirm(plan, event, boots);
      const cause = `booted ${String(MAX_TRIAL_BOOTS)} times without being confirmed`;
      return rollBack(plan, rolledBack(plan, cause), undefined);
    }
    // The power may have failed before the new image was chosen: then nothing has been tried yet.
    if (state.at === 'activating' && state.attempt < MAX_ATTEMPTS) {
      return activate(plan, event.bootId, state.attempt + 1);
    }
    const cause = 'the boot loader fell back to the previous image';
    const untriedBootId = event.others === 'new' ? undefined : event.bootId;
    return rollBack(plan, rolledBack(plan, cause, event.ecu), untriedBootId);
  },

  confirmed: (state) => (state.at === 'confirming' ? ended(state.plan, undefined) : undefined),

  unhealthy: (state, { failure }) =>
    state.at === 'confirming' ? rollBack(state.plan, failure, undefined) : undefined,

  'rolled-back': (state, { kept }) => {
    if (state.at !== 'rolling-back' && state.at !== 'returning') return undefined;
    return report({ plan: state.plan, failure: state.failure, kept });
  },

  'roll-back-chosen': (state, { bootId }) => {
    if (state.at !== 'rolling-back') return undefined;
    const { plan, failure, attempt } = state;
    const effect: Effect = { do: 'reboot', plan };
    return { state: { at: 'returning', plan, failure, attempt, bootId }, effect };
  },

  'roll-back-failed': (state) => {
    if (state.at !== 'rolling-back' && state.at !== 'returning') return undefined;
    const untriedBootId = state.at === 'rolling-back' ? state.untriedBootId : undefined;
    return rollBack(state.plan, state.failure, untriedBootId, state.attempt + 1);
  },

  'roll-back-requested': (state) => {
    if (state.at !== 'awaiting-boot' && state.at !== 'confirming') return undefined;
    const untriedBootId = state.at === 'awaiting-boot' ? state.bootId : undefined;
    const failure = rolledBack(state.plan, 'the operator asked for it');
    return rollBack(state.plan, failure, untriedBootId);
  },
  reported: (state) => (state.at === 'reporting' ? IDLE : undefined),
};

/**
 * What to do when the agent starts and finds `state` on disk. Total: every state has an answer.
 *
 * The state that comes back has to be on disk before the effect: a step that takes the agent with it
 * is counted, and given up in the end.
 */
export function resume(state: State, boot: ThisBoot): Step {
  const { bootId } = boot;
  const stay = (effect: Effect): Step => ({ state, effect });
  if (isAtRest(state)) return stay({ do: 'wait' });
  switch (state.at) {
    case 'downloading':
      return stay({ do: 'download', plan: state.plan, attempt: state.attempt });
    case 'writing':
      return resumeWriting(state, bootId);
    case 'activating':
      return resumeActivating(state, bootId);
    case 'awaiting-boot':
      return stay({ do: state.bootId === bootId ? 'reboot' : 'check-boot', plan: state.plan });
    case 'confirming':
      return resumeConfirming(state, boot);
    case 'rolling-back':
      return rollBack(state.plan, state.failure, state.untriedBootId, state.attempt + 1);
    case 'returning':
      return resumeReturning(state, bootId);
    case 'reporting':
      return stay({ do: 'report', result: state.result });
  }
}

/** Nothing is under way: a poll may begin. */
export function isAtRest(state: State): state is At<'idle' | 'paused' | 'holding'> {
  return state.at === 'idle' || state.at === 'paused' || state.at === 'holding';
}

/** An update of which nothing has been written where it would run from. */
function isUnwritten(state: State): state is At<'downloading' | 'paused' | 'holding'> {
  return state.at === 'downloading' || (state.at !== 'idle' && isAtRest(state));
}

type At<A extends State['at']> = Extract<State, { at: A }>;

/** Writing only ever touches what does not run, and starts over: doing it again is the recovery. */
function resumeWriting({ plan, attempt }: At<'writing'>, bootId: string): Step {
  if (attempt < MAX_ATTEMPTS) return write(plan, attempt + 1);
  return rollBack(plan, cutShort(plan, 'writing'), bootId);
}

function resumeActivating(state: At<'activating'>, bootId: string): Step {
  const { plan, attempt } = state;
  if (state.bootId !== bootId) return { state, effect: { do: 'check-boot', plan } };
  if (attempt < MAX_ATTEMPTS) return activate(plan, bootId, attempt + 1);
  return rollBack(plan, cutShort(plan, 'activating'), bootId);
}

function resumeReturning(state: At<'returning'>, bootId: string): Step {
  const { plan, attempt } = state;
  if (state.bootId === bootId) return { state, effect: { do: 'reboot', plan } };
  return { state, effect: { do: 'check-return', plan, retry: attempt < MAX_ATTEMPTS } };
}

/** Another boot may have gone back to the image before: confirming it would be a lie. */
function resumeConfirming(state: At<'confirming'>, boot: ThisBoot): Step {
  const { plan, boots, sinceMs } = state;
  if (state.bootId !== boot.bootId) return { state, effect: { do: 'check-boot', plan } };
  if (sinceMs === undefined) return confirm(plan, boot, boots);
  return { state, effect: { do: 'confirm', plan, sinceMs } };
}

const IDLE: Step = { state: { at: 'idle' }, effect: { do: 'wait' } };

function download(plan: Plan, attempt: number): Step {
  return { state: { at: 'downloading', plan, attempt }, effect: { do: 'download', plan, attempt } };
}

function write(plan: Plan, attempt: number): Step {
  return { state: { at: 'writing', plan, attempt }, effect: { do: 'write', plan } };
}

function activate(plan: Plan, bootId: string, attempt: number): Step {
  return { state: { at: 'activating', plan, bootId, attempt }, effect: { do: 'activate', plan } };
}

function confirm(plan: Plan, { bootId, uptimeMs: sinceMs }: ThisBoot, boots: number): Step {
  return {
    state: { at: 'confirming', plan, bootId, boots, sinceMs },
    effect: { do: 'confirm', plan, sinceMs },
  };
}

/** The last attempt is followed by one look at what runs, which is then reported as it is. */
function rollBack(
  plan: Plan,
  failure: Failure,
  untriedBootId: string | undefined,
  attempt = 1,
): Step {
  return {
    state: { at: 'rolling-back', plan, failure, attempt, untriedBootId },
    effect:
      attempt <= MAX_ATTEMPTS
        ? { do: 'roll-back', plan, attempt, isLast: attempt === MAX_ATTEMPTS, untriedBootId }
        : { do: 'check-return', plan, retry: false },
  };
}

function ended(plan: Plan, failure: Failure | undefined): Step {
  return report({ plan, failure, kept: [] });
}

function report(result: Result): Step {
  return { state: { at: 'reporting', result }, effect: { do: 'report', result } };
}

/** A plan that was given back as a whole: the Primary's image comes last in it. */
function rolledBack(plan: Plan, cause: string, ecu = plan.targets.at(-1)?.ecu ?? ''): Failure {
  return { ...failureOf(new OtaError('ROLLED_BACK', { ecu, cause })), ecu };
}

function cutShort(plan: Plan, what: string): Failure {
  const cause = `${what} was cut short ${String(MAX_ATTEMPTS)} times`;
  const [ecu = ''] = plan.targets.map((target) => target.ecu);
  return failureOf(new OtaError('INSTALL_FAILED', { installer: '', ecu, cause }));
}

function failureOf({ code, details, message }: OtaError): Failure {
  return { code, details: { ...details }, description: message };
}
