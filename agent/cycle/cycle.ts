/** Exactly one cycle: the time, what was interrupted, then report, verify, install, report. */
import type { Ports } from '../ports.ts';
import { attestTime } from './attest-time.ts';
import { finishRollBack } from './go-back.ts';
import { drive, loadState, remember, type Rest } from './drive.ts';
import { flushEvents } from './events.ts';
import { noteGoodBoot } from './good-boot.ts';
import { next, resume, type Failure, type Plan } from './machine.ts';
import { poll } from './poll.ts';
import { demandCurrent } from './recover.ts';
import { sealRisen } from './seal.ts';

export type Outcome =
  | { readonly outcome: 'up-to-date' }
  | { readonly outcome: 'installed'; readonly plan: Plan }
  | { readonly outcome: 'rolled-back'; readonly plan: Plan }
  | { readonly outcome: 'reboot-required'; readonly plan: Plan }
  /** The new image runs, but the Director could not be reached from it yet. */
  | { readonly outcome: 'unconfirmed'; readonly plan: Plan }
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
    if ((await loadState(ports.store)).at === 'idle') await ports.upkeep?.maintain();
  }
}

async function update(ports: Ports): Promise<Outcome> {
  const state = await loadState(ports.store);
  const resumed = await drive(state, resume(state, ports.boot.bootId), ports);
  if (resumed.state.at !== 'idle') return outcomeOf(resumed);
  const finding = await poll(ports);
  if (finding.found === 'nothing') return outcomeOf(resumed);
  if (finding.found === 'failed-before') {
    return resumed.ended === undefined
      ? { outcome: 'failed-before', plan: finding.plan }
      : outcomeOf(resumed);
  }
  const step = next(resumed.state, { type: 'planned', plan: finding.plan });
  await remember(resumed.state, step.state, ports);
  const rest = await drive(step.state, step.effect, ports);
  await sealRisen(ports);
  await flushEvents(ports);
  return outcomeOf(rest);
}

function outcomeOf({ state, ended, failure }: Rest): Outcome {
  switch (state.at) {
    case 'awaiting-boot':
      return { outcome: 'reboot-required', plan: state.plan };
    case 'confirming':
      return { outcome: 'unconfirmed', plan: state.plan };
    default:
      if (failure !== undefined) return { outcome: 'failed', failure };
      if (ended?.failure !== undefined) return { outcome: 'failed', failure: ended.failure };
      if (ended !== undefined) return { outcome: 'installed', plan: ended.plan };
      return { outcome: 'up-to-date' };
  }
}
