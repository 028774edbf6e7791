/** From confirmed images to the ones before them, whenever the power fails. */
import { OtaError } from '../errors.ts';
import type { LocalPorts } from '../ports.ts';
import { trust } from '../uptane/trust.ts';

/** Ends a roll-back by hand that lost power half-way. */
export async function finishRollBack(ports: LocalPorts): Promise<void> {
  if (await ports.store.rollBackIntended()) await goBack('finish', ports);
}

/**
 * Intent, effect, record: each may be the last thing done, and each may be done again.
 *
 * @throws OtaError INSTALL_FAILED when there is no previous image
 */
export async function goBack(step: 'begin' | 'finish', ports: LocalPorts): Promise<void> {
  const targets = (await ports.store.inventory()).flatMap(({ hardwareId, installed }) =>
    installed === undefined ? [] : [trust({ ...installed, hardwareId })],
  );
  if (targets.length === 0) {
    const cause = 'there is no image to go back to: this agent has installed none';
    throw new OtaError('INSTALL_FAILED', { installer: ports.installer.kind, ecu: '', cause });
  }
  if (step === 'begin') await ports.store.intendRollBack();
  for (const target of targets.toReversed()) await ports.installer.rollBack(target);
  await ports.store.restorePrevious();
}
