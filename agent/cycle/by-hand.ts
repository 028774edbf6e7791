/** What a person may decide about the running image. Works without network and token. */
import { OtaError } from '../errors.ts';
import type { LocalPorts } from '../ports.ts';
import { bootedImage, confirmNow } from './confirm.ts';
import type { Outcome } from './cycle.ts';
import { loadState, remember } from './drive.ts';
import { finishRollBack, goBack } from './go-back.ts';
import { noteGoodBoot } from './good-boot.ts';
import { rollBack } from './install.ts';
import { next, resume, type Plan, type State } from './machine.ts';

/** Marks the running image good without waiting for the Director. */
export async function confirmByHand(ports: LocalPorts): Promise<Outcome> {
  await noteGoodBoot(ports);
  const state = await bootedState(await loadState(ports.store), ports);
  if (state.at === 'rolling-back') return { outcome: 'failed', failure: state.failure };
  if (state.at === 'awaiting-boot') return { outcome: 'reboot-required', plan: state.plan };
  if (state.at !== 'confirming') return { outcome: 'up-to-date' };
  await confirmNow(state.plan, ports);
  await remember(state, next(state, { type: 'confirmed' }).state, ports);
  return { outcome: 'installed', plan: state.plan };
}

/**
 * Goes back to the previous image: of an update not yet confirmed, or of the last one that was.
 *
 * @throws OtaError INSTALL_FAILED when there is no previous image
 * @throws OtaError USAGE while an update is being written
 */
export async function rollBackByHand(ports: LocalPorts): Promise<Outcome> {
  if (await ports.store.rollBackIntended()) {
    await finishRollBack(ports);
    return rolledBack({ correlationId: undefined, targets: [] }, ports);
  }
  const state = await loadState(ports.store);
  if (state.at === 'awaiting-boot' || state.at === 'confirming') {
    const { state: rolling } = next(state, { type: 'roll-back-requested' });
    await remember(state, rolling, ports);
    await rollBack(state.plan, ports);
    await remember(rolling, next(rolling, { type: 'rolled-back' }).state, ports);
    return rolledBack(state.plan, ports);
  }
  if (state.at !== 'idle' && state.at !== 'reporting') {
    const remedy = 'run ota-agent once to let it finish or fail first';
    throw new OtaError('USAGE', { what: `an update is in progress (${state.at})`, remedy });
  }
  await goBack('begin', ports);
  return rolledBack({ correlationId: undefined, targets: [] }, ports);
}

/** After a reboot: which image the boot loader chose decides what there is to confirm. */
async function bootedState(state: State, ports: LocalPorts): Promise<State> {
  const effect = resume(state, ports.boot.bootId);
  if (effect.do !== 'check-boot') return state;
  const image = await bootedImage(effect.plan, ports);
  const step = next(state, { type: 'booted', image, bootId: ports.boot.bootId });
  await remember(state, step.state, ports);
  return step.state;
}

function rolledBack(plan: Plan, ports: LocalPorts): Outcome {
  return ports.installer.needsReboot
    ? { outcome: 'reboot-required', plan }
    : { outcome: 'rolled-back', plan };
}
