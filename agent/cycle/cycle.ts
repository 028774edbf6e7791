/** Exactly one cycle: the time, what was interrupted, then report, verify, install, report. */
import { isOtaError } from '../errors.ts';
import type { LocalPorts, Ports } from '../ports.ts';
import type { Instant } from '../uptane/time.ts';
import { attestTime } from './attest-time.ts';
import { finishRollBack } from './go-back.ts';
import { drive, loadState, remember, resumed, type Rest } from './drive.ts';
import { flushEvents } from './events.ts';
import { noteGoodBoot } from './good-boot.ts';
import { forgetHeld, heldUpdate, holdBack, type Held } from './hold.ts';
import { isAtRest, next, type Event, type Failure, type Plan, type State } from './machine.ts';
import { poll, type Finding } from './poll.ts';
import { demandCurrent } from './recover.ts';
import { sealRisen } from './seal.ts';
import { planDigest } from './state.ts';

export type Outcome =
  | { readonly outcome: 'up-to-date' }
  | { readonly outcome: 'installed'; readonly plan: Plan }
  | { readonly outcome: 'rolled-back'; readonly plan: Plan }
  | { readonly outcome: 'reboot-required'; readonly plan: Plan }
  /** The new image runs, but was not found healthy yet. */
  | { readonly outcome: 'unconfirmed'; readonly plan: Plan }
  /** A person stopped its download. */
  | { readonly outcome: 'paused'; readonly plan: Plan }
  /** A person let it go on, or ended it. */
  | { readonly outcome: 'resumed' | 'aborted' | 'approved'; readonly plan: Plan }
  /** The same image failed more than once: a new assignment of it waits until then. */
  | { readonly outcome: 'deferred'; readonly plan: Plan; readonly until: Instant }
  /** Something has to come first: a window, consent, the end of what inhibits it. */
  | { readonly outcome: 'held'; readonly plan: Plan; readonly held: Held }
  | { readonly outcome: 'failed'; readonly failure: Failure }
  | { readonly outcome: 'failed-before'; readonly plan: Plan };

/**
 * Runs one cycle to where it can go no further now.
 *
 * @throws OtaError STORAGE_ROLLED_BACK, TOKEN_REPLACED before anything else is done
 * @throws OtaError when metadata is refused or the gateway cannot be used; nothing is lost by it
 */
export async function runCycle(ports: Ports): Promise<Outcome> {
  await noteGoodBoot(ports);
  await demandCurrent(ports);
  await finishRollBack(ports);
  await attestTime(ports);
  await ports.upkeep?.resume();
  try {
    const outcome = await update(ports);
    await tellOfDevice(ports);
    return outcome;
  } finally {
    // Whatever became of the update: refused metadata must not let a certificate run out. Not while an
    // image is on trial, though: the agent that it may go back to has to find what it knows.
    if (isAtRest(await loadState(ports.store))) await ports.upkeep?.maintain();
  }
}

/** Nobody's update waits for it: what cannot be told now is told after another cycle. */
async function tellOfDevice({ telemetry, store, reporter }: Ports): Promise<void> {
  if (telemetry === undefined || !isAtRest(await loadState(store))) return;
  await telemetry.report((error) => {
    if (!isOtaError(error)) throw error;
    reporter.refused(error);
  });
}

async function update(ports: Ports): Promise<Outcome> {
  const { state, effect } = await resumed(ports);
  const before = await drive(state, effect, ports);
  if (!isAtRest(before.state)) return outcomeOf(before);
  if (before.state.at !== 'idle' && before.state.plan.offline !== undefined) {
    return goOnOffline(before.state, ports);
  }
  const finding = await poll(ports);
  const at = await withdrawn(before.state, finding, ports);
  if (at.at === 'paused') return outcomeOf(before);
  if (finding.found === 'update') return goOn(at, finding.plan, ports);
  await forgetHeld(ports);
  if (finding.found === 'nothing') return outcomeOf({ ...before, state: at });
  if (before.ended !== undefined) return outcomeOf(before);
  const { plan } = finding;
  return finding.found === 'failed-before'
    ? { outcome: 'failed-before', plan }
    : { outcome: 'deferred', plan, until: finding.until };
}

/**
 * What still holds an update back: without network, to be asked often.
 *
 * @returns `released` when nothing does any more; `nothing` when no update waits
 */
export async function stillHeld(ports: LocalPorts): Promise<Held | 'released' | 'nothing'> {
  const state = await loadState(ports.store);
  if (state.at !== 'holding') return 'nothing';
  return (await holdBack(state.plan, state.before, ports)) ?? 'released';
}

/**
 * What came on a medium is what a person wants: no Director takes it back, but it still hears of this
 * device where there is a way.
 */
async function goOnOffline(at: Resting, ports: Ports): Promise<Outcome> {
  const outcome = at.at === 'holding' ? await goOn(at, at.plan, ports) : undefined;
  if (outcome !== undefined && outcome.outcome !== 'held') return outcome;
  try {
    await poll(ports);
  } catch (error) {
    if (!isOtaError(error) || error.handling.kind !== 'transport') throw error;
    ports.reporter.refused(error);
  }
  return outcome ?? { outcome: 'paused', plan: at.plan };
}

type Resting = Extract<State, { at: 'paused' | 'holding' }>;

/** From idle, or from where an update waited. */
export async function goOn(from: State, plan: Plan, ports: Ports): Promise<Outcome> {
  const before = from.at === 'holding' ? from.before : 'download';
  const held = await holdBack(plan, before, ports);
  if (held === undefined) {
    return install(
      from,
      from.at === 'holding' ? { type: 'released' } : { type: 'planned', plan },
      ports,
    );
  }
  if (from.at !== 'holding') {
    await remember(from, next(from, { type: 'held', plan }).state, ports);
  }
  return { outcome: 'held', plan, held };
}

async function install(from: State, begin: Event, ports: Ports): Promise<Outcome> {
  const step = next(from, begin);
  await remember(from, step.state, ports);
  const rest = await drive(step.state, step.effect, ports);
  await sealRisen(ports);
  if (ports.isOffline !== true) await flushEvents(ports);
  const { state } = rest;
  const held = state.at === 'holding' ? await heldUpdate(ports) : undefined;
  if (state.at === 'holding' && held !== undefined)
    return { outcome: 'held', plan: state.plan, held };
  return outcomeOf(rest);
}

/** @returns the idle state, or the one before while the Director wants what is paused or waits */
async function withdrawn(state: State, finding: Finding, ports: Ports): Promise<State> {
  if (state.at !== 'paused' && state.at !== 'holding') return state;
  // What waits has not failed: found in any other way it is no update any more.
  const isWanted = state.at === 'paused' ? 'plan' in finding : finding.found === 'update';
  if (isWanted && 'plan' in finding && planDigest(finding.plan) === planDigest(state.plan))
    return state;
  const step = next(state, { type: 'withdrawn' });
  await remember(state, step.state, ports);
  return step.state;
}

export function outcomeOf({ state, ended, failure }: Rest): Outcome {
  switch (state.at) {
    case 'awaiting-boot':
    case 'returning':
      return { outcome: 'reboot-required', plan: state.plan };
    case 'paused':
      return { outcome: 'paused', plan: state.plan };
    case 'confirming':
      return { outcome: 'unconfirmed', plan: state.plan };
    default:
      // What failed on the way to a good end is no failure.
      if (ended?.failure !== undefined) return { outcome: 'failed', failure: ended.failure };
      if (ended !== undefined) return { outcome: 'installed', plan: ended.plan };
      if (failure !== undefined) return { outcome: 'failed', failure };
      return { outcome: 'up-to-date' };
  }
}
