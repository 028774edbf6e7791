/** From confirmed images to the ones before them, whenever the power fails. */
import { isOtaError, OtaError } from '../errors.ts';
import type { LocalPorts } from '../ports.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import { trust } from '../uptane/trust.ts';

/** Ends a roll-back by hand that lost power half-way. What cannot be done is told and left as it is. */
export async function finishRollBack(ports: LocalPorts): Promise<void> {
  if (!(await ports.store.rollBackIntended())) return;
  try {
    await goBack('finish', ports);
  } catch (error) {
    if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
    ports.reporter.refused(error);
  }
}

/**
 * Intent, effect, record: each may be the last thing done, and each may be done again.
 *
 * The images of the last update go back together, those of other ECUs stay. What an installer cannot
 * take back is left, recorded as running, and no reason to try for ever.
 *
 * @returns what went back
 * @throws OtaError INSTALL_FAILED when there is no previous image
 */
export async function goBack(
  step: 'begin' | 'finish',
  ports: LocalPorts,
): Promise<readonly TrustedTarget[]> {
  const { store } = ports;
  const updated = await store.lastUpdated();
  const targets = (await store.inventory()).flatMap(({ serial, hardwareId, installed }) => {
    if (installed === undefined || updated?.includes(serial) === false) return [];
    return [trust({ ...installed, hardwareId })];
  });
  if (targets.length === 0) {
    const cause = 'there is no image to go back to: this agent has installed none';
    throw new OtaError('INSTALL_FAILED', { installer: '', ecu: '', cause });
  }
  if (step === 'begin') await store.intendRollBack();
  const done: TrustedTarget[] = [];
  let failure: Error | undefined;
  // The Primary is the first of the inventory and was the last to be installed.
  for (const target of targets) {
    try {
      await ports.installers.of(target.ecu).rollBack(target);
      done.push(target);
    } catch (error) {
      if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
      failure ??= error;
    }
  }
  await store.restorePrevious(done.map(({ ecu }) => ecu));
  if (failure !== undefined) throw failure;
  return done;
}
