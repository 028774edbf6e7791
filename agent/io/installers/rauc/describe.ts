/** What the installer finds, in words. Pure. */
import type { Installed } from './record.ts';
import { stampOf, type Slot, type Slots } from './slots.ts';
import type { Activation } from './system-conf.ts';

/** In one line, with the image as far as it is known. */
export function describeSlot(slot: Slot, noted: Installed | undefined, { all }: Slots): string {
  return [
    `boot name ${slot.bootname ?? 'none'}`,
    slot.device,
    slot.state,
    slot.bootStatus ?? 'boot status unknown',
    noted?.stamp === stampOf(slot, all) ? noted.image : 'image unknown',
  ].join(', ');
}

export const BY_THE_AGENT = 'by the agent';

/** Who chooses a new image, and what to do where that is not the agent. */
export function describeActivation(activation: Activation, systemConf: string): string {
  if (activation === 'agent') return BY_THE_AGENT;
  if (activation === 'rauc') {
    return `by RAUC, and the agent takes it back: set activate-installed=false under [system] in ${systemConf}`;
  }
  return `unknown (${activation.unknown}): set installer.rauc_system_conf`;
}
