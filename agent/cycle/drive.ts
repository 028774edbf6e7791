/** Decide, remember, act, repeat: until nothing more can happen now. */
import type { Boot, Finish, LocalPorts, Ports, Store } from '../ports.ts';
import { perform } from './effects.ts';
import {
  next,
  resume,
  type Effect,
  type Event,
  type Failure,
  type Plan,
  type Result,
  type State,
  type Step,
  type ThisBoot,
} from './machine.ts';
import { noteAttack } from './note-attack.ts';
import { assignedBefore } from '../uptane/superseded.ts';
import {
  formatResult,
  formatState,
  imageName,
  installedBy,
  parseState,
  planDigest,
} from './state.ts';

/** Where a drive came to rest, and what it went through on the way. */
export interface Rest {
  readonly state: State;
  /** The update that ended on the way, if one did. */
  readonly ended: Result | undefined;
  /** The last expected failure on the way, also of an update that goes on later. */
  readonly failure: Failure | undefined;
}

/**
 * Performs `effect` and everything that follows from it.
 *
 * Every state is on disk before its effect starts, so a power cut at any instant leaves an intent
 * that `resume` can finish or undo.
 *
 * @throws OtaError when an effect cannot be performed now; the state on disk keeps the intent
 */
export async function drive(state: State, effect: Effect, ports: Ports): Promise<Rest> {
  let at = state;
  let todo = effect;
  let ended: Result | undefined;
  let failure: Failure | undefined;
  for (;;) {
    const event = await perform(todo, ports);
    if (event === undefined) return { state: at, ended, failure };
    if ('failure' in event) {
      failure = event.failure;
      await noteAttack(failure.code, ports.store);
    }
    const step = next(at, event);
    await remember(at, step.state, ports, event);
    if (step.state.at === 'reporting' && at.at !== 'reporting') ended = step.state.result;
    ({ state: at, effect: todo } = step);
  }
}

/** The state on disk; a device that never updated is idle. */
export async function loadState(store: Store): Promise<State> {
  const text = await store.loadState();
  return text === undefined ? { at: 'idle' } : parseState(text);
}

/** What is on disk, and what to do about it: counted on disk before it is done. */
export async function resumed(ports: LocalPorts): Promise<Step> {
  const state = await loadState(ports.store);
  const step = resume(state, thisBoot(ports.boot));
  if (step.state !== state) await remember(state, step.state, ports);
  return step;
}

function thisBoot(boot: Boot): ThisBoot {
  return { bootId: boot.bootId, uptimeMs: boot.uptimeMs() };
}

/**
 * Writes the state that follows; the end of an update together with what it changed.
 *
 * @param event - what led to it, where that makes a difference
 */
export async function remember(
  from: State,
  to: State,
  ports: LocalPorts,
  event?: Event,
): Promise<void> {
  const facts = from.at === 'downloading' ? { attempt: from.attempt } : {};
  ports.reporter.transition(from.at, to.at, facts);
  if (to.at === 'reporting' && from.at !== 'reporting') {
    await ports.store.finish({ ...ending(to, ports), ...(await replaced(to.result, ports)) });
  } else if (event?.type === 'reported' && event.later === true && from.at === 'reporting') {
    await ports.store.postponeReport(formatResult(from.result), formatState(to));
  } else {
    await ports.store.saveState(formatState(to));
  }
}

/** What the Director had assigned to the same ECUs, and still may name, is older than an offline update. */
async function replaced({ plan, failure }: Result, { store }: LocalPorts): Promise<Replaced> {
  if (plan.offline === undefined || failure !== undefined) return {};
  const before = await store.superseded();
  const ecus = new Set(plan.targets.map(({ ecu }) => ecu));
  const counts = (ecu: string, name: string): boolean => ecus.has(ecu) || before.has(name);
  return { superseded: assignedBefore(await store.loadTrusted(), counts) };
}

type Replaced = Pick<Finish, 'superseded'>;

function ending(state: Extract<State, { at: 'reporting' }>, ports: LocalPorts): Finish {
  const { plan, failure, kept } = state.result;
  const runs = plan.targets.filter(({ ecu }) => failure === undefined || kept.includes(ecu));
  return {
    state: formatState(state),
    installed: runs.map(installedBy),
    images: plan.targets.map(imageName),
    planDigest: planDigest(plan),
    failed: failure !== undefined,
    history: {
      endedAt: ports.clock.now(),
      correlationId: plan.correlationId,
      filenames: plan.targets.map(({ filename }) => filename),
      code: failure?.code ?? 'OK',
      description: failure?.description ?? `installed and confirmed${howItCame(plan)}`,
    },
  };
}

function howItCame({ offline }: Plan): string {
  return offline === undefined ? '' : `, offline from the lockbox ${offline.lockbox}`;
}
