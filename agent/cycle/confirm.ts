/** After the new images run: is the device still one that can be updated? Then make them permanent. */
import { OtaError } from '../errors.ts';
import type { LocalPorts, Ports } from '../ports.ts';
import { queueEvent } from './events.ts';
import { failureOf, ofTarget } from './failure.ts';
import type { Effect, Event, Plan } from './machine.ts';
import { noteAttack } from './note-attack.ts';

const PROBE_BYTES = 64 * 1024;

/**
 * Confirms once the device is found healthy, and gives the new images up when the deadline has passed.
 *
 * An image that cuts a device off from its updates cannot be mended from afar; that the Director can
 * be reached from it is therefore one of the checks.
 *
 * @returns `undefined` while the device is not healthy yet
 */
export async function confirm(
  { plan, sinceMs }: Omit<Extract<Effect, { do: 'confirm' }>, 'do'>,
  ports: Ports,
): Promise<Event | undefined> {
  try {
    await demandHealthy(plan, ports);
    await confirmNow(plan, ports);
    return { type: 'confirmed' };
  } catch (error) {
    const { ecu = plan.targets.at(-1)?.ecu ?? '', code, description } = failureOf(error);
    if (error instanceof Error) ports.reporter.refused(error);
    await noteAttack(code, ports.store);
    const { healthDeadlineMs } = ports.limits;
    if (ports.boot.uptimeMs() - sinceMs < healthDeadlineMs) return undefined;
    const within = `${String(Math.round(healthDeadlineMs / 1000))} s`;
    const cause = `not healthy within ${within}: ${description}`;
    return {
      type: 'unhealthy',
      failure: { ...failureOf(new OtaError('ROLLED_BACK', { ecu, cause })), ecu },
    };
  }
}

/** Confirms without asking: whoever calls has judged the device healthy. */
export async function confirmNow(plan: Plan, ports: LocalPorts): Promise<void> {
  for (const target of plan.targets) {
    await ofTarget(target, () => ports.installers.of(target.ecu).confirm(target));
    await queueEvent(ports, 'EcuInstallationCompleted', { plan, target, success: true });
  }
}

/** Which images run: `new` only if every ECU runs what the plan put there. */
export async function bootedImage(plan: Plan, ports: LocalPorts): Promise<Event> {
  const { bootId } = ports.boot;
  const now = { type: 'booted', bootId, uptimeMs: ports.boot.uptimeMs() } as const;
  let old: string | undefined;
  let others: 'new' | 'old' = 'old';
  for (const target of plan.targets) {
    const installer = ports.installers.of(target.ecu);
    if (!(await installer.booted(target))) old ??= target.ecu;
    else if (await installer.needsReboot) others = 'new';
  }
  return old === undefined ? { ...now, image: 'new' } : { ...now, image: 'old', ecu: old, others };
}

/**
 * An update that came offline is for a device that may have no way to the Director: its own checks of
 * health are all there is.
 *
 * @throws OtaError HEALTH_CHECK_FAILED, GATEWAY_*
 */
async function demandHealthy({ offline }: Plan, ports: Ports): Promise<void> {
  await ports.health.check();
  if (!ports.limits.probeGateway || offline !== undefined) return;
  await ports.repositories.fetchMetadata('director', 'timestamp.json', PROBE_BYTES);
}
