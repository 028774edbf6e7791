/** Exactly one cycle: the time, what was interrupted, then report, verify, install, report. */
import type { Ports } from '../ports.ts';
import type { Instant } from '../uptane/time.ts';
import { attestTime } from './attest-time.ts';
import { finishRollBack } from './go-back.ts';
import { drive, loadState, remember, resumed, type Rest } from './drive.ts';
import { flushEvents } from './events.ts';
import { noteGoodBoot } from './good-boot.ts';
import { next, type Failure, type Plan, type State } from './machine.ts';
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
  | { readonly outcome: 'resumed' | 'aborted'; readonly plan: Plan }
  /** The same image failed more than once: a new assignment of it waits until then. */
  | { readonly outcome: 'deferred'; readonly plan: Plan; readonly until: Instant }
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
    return await update(ports);
  } finally {
    // Whatever became of the update: refused metadata must not let a certificate run out. Not while an
    // image is on trial, though: the agent that it may go back to has to find what it knows.
    const { at } = await loadState(ports.store);
    if (at === 'idle' || at === 'paused') await ports.upkeep?.maintain();
  }
}

async function update(ports: Ports): Promise<Outcome> {
  const { state, effect } = await resumed(ports);
  const before = await drive(state, effect, ports);
  if (before.state.at !== 'idle' && before.state.at !== 'paused') return outcomeOf(before);
  const finding = await poll(ports);
  const idle = await withdrawn(before.state, finding, ports);
  if (idle === undefined) return outcomeOf(before);
  if (finding.found === 'nothing') return outcomeOf({ ...before, state: idle });
  if (finding.found === 'update') return install(idle, finding.plan, ports);
  if (before.ended !== undefined) return outcomeOf(before);
  const { plan } = finding;
  return finding.found === 'failed-before'
    ? { outcome: 'failed-before', plan }
    : { outcome: 'deferred', plan, until: finding.until };
}

async function install(idle: State, plan: Plan, ports: Ports): Promise<Outcome> {
  const step = next(idle, { type: 'planned', plan });
  await remember(idle, step.state, ports);
  const rest = await drive(step.state, step.effect, ports);
  await sealRisen(ports);
  await flushEvents(ports);
  return outcomeOf(rest);
}

/** @returns the idle state, or `undefined` while what the Director wants is paused */
async function withdrawn(state: State, finding: Finding, ports: Ports): Promise<State | undefined> {
  if (state.at !== 'paused') return state;
  if ('plan' in finding && planDigest(finding.plan) === planDigest(state.plan)) return undefined;
  const step = next(state, { type: 'withdrawn' });
  await remember(state, step.state, ports);
  return step.state;
}

function outcomeOf({ state, ended, failure }: Rest): Outcome {
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
