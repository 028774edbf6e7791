/** What a person may decide about an update. Works without network and token. */
import { OtaError } from '../errors.ts';
import type { LocalPorts } from '../ports.ts';
import { bootedImage, confirmNow } from './confirm.ts';
import type { Outcome } from './cycle.ts';
import { loadState, remember, resumed } from './drive.ts';
import { queueEvent } from './events.ts';
import { goBack } from './go-back.ts';
import { noteGoodBoot } from './good-boot.ts';
import { heldUpdate, rememberApproval } from './hold.ts';
import { checkReturn, needReboot, rollBack } from './install.ts';
import { next, type Effect, type Event, type Plan, type State, type Step } from './machine.ts';

/** Marks the running image good without any check of health. */
export async function confirmByHand(ports: LocalPorts): Promise<Outcome> {
  await noteGoodBoot(ports);
  const state = await bootedState(ports);
  if (state.at === 'rolling-back') return { outcome: 'failed', failure: state.failure };
  if (state.at === 'awaiting-boot' || state.at === 'returning') {
    return { outcome: 'reboot-required', plan: state.plan };
  }
  if (state.at !== 'confirming') return { outcome: 'up-to-date' };
  await confirmNow(state.plan, ports);
  await advance(state, { type: 'confirmed' }, ports);
  return { outcome: 'installed', plan: state.plan };
}

/**
 * Goes back to the previous image: of an update not yet confirmed, or of the last one that was.
 *
 * @throws OtaError INSTALL_FAILED when there is no previous image
 * @throws OtaError USAGE while an update is being written
 */
export async function rollBackByHand(ports: LocalPorts): Promise<Outcome> {
  if (await ports.store.rollBackIntended()) return wentBack('finish', ports);
  const state = await loadState(ports.store);
  if (state.at === 'awaiting-boot' || state.at === 'confirming') {
    const step = await advance(state, { type: 'roll-back-requested' }, ports);
    const { state: end } = await rolled(step, ports);
    if (end.at === 'reporting' && end.result.kept.length > 0 && end.result.failure !== undefined) {
      return { outcome: 'failed', failure: end.result.failure };
    }
    return rolledBack(state.plan, ports);
  }
  if (state.at !== 'idle' && state.at !== 'reporting') {
    const remedy = 'run ota-agent once to let it finish or fail first';
    throw new OtaError('USAGE', { what: `an update is in progress (${state.at})`, remedy });
  }
  return wentBack('begin', ports);
}

async function wentBack(step: 'begin' | 'finish', ports: LocalPorts): Promise<Outcome> {
  return rolledBack({ correlationId: undefined, targets: await goBack(step, ports) }, ports);
}

/**
 * Stops the download that is under way, until somebody lets it go on; also over a restart.
 *
 * @throws OtaError USAGE if none is
 */
export async function pauseByHand(ports: LocalPorts): Promise<Outcome> {
  return held(await demandDownload('pause', ports), 'pause-requested', ports);
}

/** @throws OtaError USAGE if nothing is paused */
export async function resumeByHand(ports: LocalPorts): Promise<Outcome> {
  const state = await demandDownload('resume', ports);
  if (state.at === 'paused') {
    for (const target of state.plan.targets) {
      await queueEvent(ports, 'EcuDownloadResumed', { plan: state.plan, target });
    }
    await advance(state, { type: 'resume-requested' }, ports);
  }
  return { outcome: 'resumed', plan: state.plan };
}

/**
 * Ends an update whose download is under way or paused; the Director is told that it failed.
 *
 * @throws OtaError USAGE if none is: what was written already is for `ota-agent rollback`
 */
export async function abortByHand(ports: LocalPorts): Promise<Outcome> {
  return held(await demandDownload('abort', ports), 'abort-requested', ports);
}

/**
 * Agrees to the installation of the update that waits.
 *
 * @param update - what `status` names it: another may have taken its place since it was looked at
 * @throws OtaError USAGE if that update does not wait
 */
export async function approveByHand(update: string, ports: LocalPorts): Promise<Outcome> {
  const state = await loadState(ports.store);
  const held = await heldUpdate(ports);
  const remedy = 'see ota-agent status';
  if (state.at !== 'holding' || held === undefined) {
    throw new OtaError('USAGE', { what: `no update waits (the cycle is at ${state.at})`, remedy });
  }
  if (held.update !== update) {
    const what = `the update that waits is ${held.update}, and not ${update}`;
    throw new OtaError('USAGE', { what, remedy });
  }
  await rememberApproval(held, ports);
  return { outcome: 'approved', plan: state.plan };
}

type Loading = Extract<State, { at: 'downloading' | 'paused' | 'holding' }>;

/** @throws OtaError USAGE for any other state than that of a download; what waits can be ended, too */
export async function demandDownload(
  command: 'pause' | 'resume' | 'abort',
  { store }: LocalPorts,
): Promise<Loading> {
  const state = await loadState(store);
  if (state.at === 'downloading' || state.at === 'paused') return state;
  if (state.at === 'holding' && command === 'abort') return state;
  const what = `no download to ${command} (the cycle is at ${state.at})`;
  const remedy = 'see ota-agent status; what was written already is for ota-agent rollback';
  throw new OtaError('USAGE', { what, remedy });
}

async function held(
  state: Loading,
  type: 'pause-requested' | 'abort-requested',
  ports: LocalPorts,
): Promise<Outcome> {
  const { plan } = state;
  if (type === 'pause-requested' && state.at === 'paused') return { outcome: 'paused', plan };
  const event = type === 'pause-requested' ? 'EcuDownloadPaused' : 'EcuDownloadAborted';
  for (const target of plan.targets) await queueEvent(ports, event, { plan, target });
  await advance(state, { type }, ports);
  return { outcome: type === 'pause-requested' ? 'paused' : 'aborted', plan };
}

/** After a reboot: which image the boot loader chose decides what there is to confirm. */
async function bootedState(ports: LocalPorts): Promise<State> {
  const { state, effect } = await resumed(ports);
  if (effect.do !== 'check-boot') return state;
  const event = await bootedImage(effect.plan, ports);
  return (await advance(state, event, ports)).state;
}

/** As far as it goes without a reboot and without the Director. */
async function rolled(begun: Step, ports: LocalPorts): Promise<Step> {
  let step = begun;
  for (;;) {
    const event = await performRollBack(step.effect, ports);
    if (event === undefined) return step;
    step = await advance(step.state, event, ports);
  }
}

async function performRollBack(effect: Effect, ports: LocalPorts): Promise<Event | undefined> {
  if (effect.do === 'roll-back') return rollBack(effect, ports);
  return effect.do === 'check-return' ? checkReturn(effect, ports) : undefined;
}

async function advance(from: State, event: Event, ports: LocalPorts): Promise<Step> {
  const step = next(from, event);
  await remember(from, step.state, ports);
  return step;
}

async function rolledBack(plan: Plan, ports: LocalPorts): Promise<Outcome> {
  return (await needReboot(plan.targets, ports))
    ? { outcome: 'reboot-required', plan }
    : { outcome: 'rolled-back', plan };
}
