/** After the new image runs: is the device still one that can be updated? Then make it permanent. */
import { isOtaError } from '../errors.ts';
import type { LocalPorts, Ports } from '../ports.ts';
import { queueEvent } from './events.ts';
import type { Event, Plan } from './machine.ts';
import { noteAttack } from './note-attack.ts';

const PROBE_BYTES = 64 * 1024;

/**
 * Confirms once the Director can be reached from the new image.
 *
 * An image that cuts a device off from its updates cannot be mended from afar: unconfirmed, it is
 * left to the boot loader's count-down, which goes back to the image that could.
 *
 * @returns `undefined` while the gateway cannot be reached
 */
export async function confirm(plan: Plan, ports: Ports): Promise<Event | undefined> {
  if (ports.installer.needsReboot && !(await directorAnswers(ports))) return undefined;
  await confirmNow(plan, ports);
  return { type: 'confirmed' };
}

/** Confirms without asking: whoever calls has judged the device healthy. */
export async function confirmNow(plan: Plan, ports: LocalPorts): Promise<void> {
  for (const target of plan.targets) {
    await ports.installer.confirm(target);
    await queueEvent(ports, 'EcuInstallationCompleted', { plan, target, success: true });
  }
}

/** `new` only if every ECU runs what the plan put there. */
export async function bootedImage(plan: Plan, ports: LocalPorts): Promise<'new' | 'old'> {
  for (const target of plan.targets) {
    if (!(await ports.installer.booted(target))) return 'old';
  }
  return 'new';
}

async function directorAnswers(ports: Ports): Promise<boolean> {
  try {
    await ports.repositories.fetchMetadata('director', 'timestamp.json', PROBE_BYTES);
    return true;
  } catch (error) {
    if (!isOtaError(error) || error.handling.kind === 'bug') throw error;
    ports.reporter.refused(error);
    await noteAttack(error.code, ports.store);
    return false;
  }
}
