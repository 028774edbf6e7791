/** Exactly one cycle: what was interrupted first, then report, verify, install, report. */
import { OtaError } from '../errors.ts';
import type { Ports } from '../ports.ts';
import { confirmNow } from './confirm.ts';
import { drive, remember, type Rest } from './drive.ts';
import { flushEvents } from './events.ts';
import { next, resume, type Failure, type Plan, type State } from './machine.ts';
import { poll } from './poll.ts';
import { parseState } from './state.ts';

export type Outcome =
  | { readonly outcome: 'up-to-date' }
  | { readonly outcome: 'installed'; readonly plan: Plan }
  | { readonly outcome: 'reboot-required'; readonly plan: Plan }
  /** The new image runs, but the Director could not be reached from it yet. */
  | { readonly outcome: 'unconfirmed'; readonly plan: Plan }
  | { readonly outcome: 'failed'; readonly failure: Failure }
  | { readonly outcome: 'failed-before'; readonly plan: Plan };

/**
 * Runs one cycle to where it can go no further now.
 *
 * @throws OtaError when metadata is refused or the gateway cannot be used; nothing is lost by it
 */
export async function runCycle(ports: Ports): Promise<Outcome> {
  const state = await loadState(ports);
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
  await flushEvents(ports);
  return outcomeOf(rest);
}

/** Marks the running image good without waiting for the Director. */
export async function confirmByHand(ports: Ports): Promise<Outcome> {
  let state = await loadState(ports);
  const effect = resume(state, ports.boot.bootId);
  if (effect.do === 'check-boot') {
    const image = await bootedImage(state, ports);
    const step = next(state, { type: 'booted', image, bootId: ports.boot.bootId });
    await remember(state, step.state, ports);
    ({ state } = step);
    if (image === 'old') return outcomeOf(await drive(step.state, step.effect, ports));
  }
  if (state.at !== 'confirming') return { outcome: 'up-to-date' };
  const { plan } = state;
  await confirmNow(plan, ports);
  await remember(state, next(state, { type: 'confirmed' }).state, ports);
  return { outcome: 'installed', plan };
}

/**
 * Goes back to the previous image: of an update not yet confirmed, or of the last one that was.
 *
 * @throws OtaError INSTALL_FAILED when there is no previous image
 * @throws OtaError USAGE while an update is being written
 */
export async function rollBackByHand(ports: Ports): Promise<Outcome> {
  const state = await loadState(ports);
  if (state.at === 'awaiting-boot' || state.at === 'confirming') {
    const step = next(state, { type: 'roll-back-requested' });
    await remember(state, step.state, ports);
    await drive(step.state, step.effect, ports);
    return rollBackOutcome(state.plan, ports);
  }
  if (state.at !== 'idle' && state.at !== 'reporting') {
    const remedy = 'run ota-agent once to let it finish or fail first';
    throw new OtaError('USAGE', { what: `an update is in progress (${state.at})`, remedy });
  }
  await ports.installer.rollBack(undefined);
  await ports.store.restorePrevious();
  return rollBackOutcome({ correlationId: undefined, targets: [] }, ports);
}

function rollBackOutcome(plan: Plan, ports: Ports): Outcome {
  return ports.installer.needsReboot
    ? { outcome: 'reboot-required', plan }
    : { outcome: 'installed', plan };
}

async function loadState(ports: Ports): Promise<State> {
  const text = await ports.store.loadState();
  return text === undefined ? { at: 'idle' } : parseState(text);
}

async function bootedImage(state: State, ports: Ports): Promise<'new' | 'old'> {
  if (!('plan' in state)) return 'old';
  for (const target of state.plan.targets) {
    if (!(await ports.installer.booted(target))) return 'old';
  }
  return 'new';
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
