/** Staged images to where they will run from and back, through the Installer port. */
import type { Installer, LocalPorts, Ports, Progress } from '../ports.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import { backoffMs, repositoriesOf } from './download.ts';
import { queueEvent } from './events.ts';
import { failureOf, ofTarget } from './failure.ts';
import type { Effect, Event, Plan } from './machine.ts';

/** Writes and proves every image; none is chosen before all are proven. */
export async function write(plan: Plan, ports: Ports): Promise<Event> {
  try {
    for (const target of plan.targets) {
      await queueEvent(ports, 'EcuInstallationStarted', { plan, target });
      const progress: Progress = (done, total) => {
        ports.reporter.progress('install', target.filename, done, total);
      };
      await ofTarget(target, () => writeOne(target, plan, ports, progress));
    }
    return { type: 'written', bootId: ports.boot.bootId };
  } catch (error) {
    return installFailed(error, ports);
  }
}

async function writeOne(
  target: TrustedTarget,
  plan: Plan,
  ports: Ports,
  progress: Progress,
): Promise<void> {
  const installer = ports.installers.of(target.ecu);
  if (installer.takes === 'stream') return installer.prove(target, progress);
  return installer.write(target, await staged(target, plan, ports), progress);
}

/** Chooses the new images, in order; the failure of one takes all of them back. */
export async function activate(plan: Plan, ports: Ports): Promise<Event> {
  try {
    let takesEffect: 'now' | 'after-reboot' = 'now';
    for (const target of plan.targets) {
      const waits = await ofTarget(target, () => activateOne(target, plan, ports));
      if (waits) takesEffect = 'after-reboot';
    }
    return { type: 'activated', takesEffect, uptimeMs: ports.boot.uptimeMs() };
  } catch (error) {
    return installFailed(error, ports);
  }
}

/** Whether any of these images runs only after a reboot. */
export async function needReboot(
  targets: readonly TrustedTarget[],
  ports: LocalPorts,
): Promise<boolean> {
  for (const target of targets) if (await installerFor(target, ports).needsReboot) return true;
  return false;
}

/** @returns whether it runs only after a reboot */
async function activateOne(target: TrustedTarget, plan: Plan, ports: Ports): Promise<boolean> {
  const installer = ports.installers.of(target.ecu);
  if (!(await installer.needsReboot)) {
    await installer.activate(target);
    return false;
  }
  // Power failed between two of several, or RAUC chose it by itself, and it has booted already.
  const runs = await installer.booted(target);
  if (!runs) await installer.activate(target);
  await queueEvent(ports, 'EcuInstallationApplied', { plan, target });
  return !runs;
}

type RollBack = Extract<Effect, { do: 'roll-back' }>;

/**
 * Chooses the images before, in reverse. What one installer cannot do does not keep the others from it.
 *
 * A new image that may run until the next boot is not gone yet: that it is gone is seen after that boot.
 * Installers are not asked before: what is chosen for the next boot is no longer what runs.
 */
export async function rollBack(
  { plan, attempt, isLast, untriedBootId }: Omit<RollBack, 'do'>,
  ports: LocalPorts,
): Promise<Event> {
  if (attempt > 1) await ports.clock.sleep(backoffMs(attempt));
  const targets: TrustedTarget[] = [];
  for (const target of plan.targets.toReversed()) {
    const done = await tried(() => installerFor(target, ports).rollBack(target), ports);
    if (done !== undefined) targets.push(target);
  }
  if (targets.length < plan.targets.length && !isLast) return { type: 'roll-back-failed' };
  const { bootId } = ports.boot;
  if (untriedBootId !== bootId && (await needReboot(targets, ports)))
    return { type: 'roll-back-chosen', bootId };
  return rolledBack(plan, ports);
}

/** After the last attempt, or the boot after one: what runs now, whatever was hoped. */
export async function checkReturn(
  { plan, retry }: Omit<Extract<Effect, { do: 'check-return' }>, 'do'>,
  ports: LocalPorts,
): Promise<Event> {
  for (const target of retry ? plan.targets : []) {
    if ((await installerFor(target, ports).needsReboot) && (await runs(target, ports))) {
      return { type: 'roll-back-failed' };
    }
  }
  return rolledBack(plan, ports);
}

async function rolledBack(plan: Plan, ports: LocalPorts): Promise<Event> {
  const kept: string[] = [];
  for (const target of plan.targets) {
    if (await runs(target, ports)) kept.push(target.ecu);
    const success = kept.includes(target.ecu);
    await queueEvent(ports, 'EcuInstallationCompleted', { plan, target, success });
  }
  return { type: 'rolled-back', kept };
}

/** An installer that cannot say is none that runs the image. */
async function runs(target: TrustedTarget, ports: LocalPorts): Promise<boolean> {
  const answer = await tried(() => installerFor(target, ports).booted(target), ports);
  return answer?.value === true;
}

/** @returns `undefined` for an expected failure, which is told and ends nothing */
async function tried<T>(
  act: () => Promise<T>,
  { reporter }: LocalPorts,
): Promise<{ readonly value: T } | undefined> {
  try {
    return { value: await act() };
  } catch (error) {
    failureOf(error);
    if (error instanceof Error) reporter.refused(error);
    return undefined;
  }
}

function installerFor({ ecu }: TrustedTarget, { installers }: LocalPorts): Installer {
  return installers.of(ecu);
}

function installFailed(error: unknown, { boot }: LocalPorts): Event {
  return { type: 'install-failed', failure: failureOf(error), bootId: boot.bootId };
}

/** Downloaded already, but whoever emptied the staging directory since must not stop the update. */
function staged(target: TrustedTarget, plan: Plan, ports: Ports): Promise<string> {
  const open = (offsetBytes: number): AsyncIterable<Uint8Array> =>
    repositoriesOf(plan, ports).openImage(target, offsetBytes);
  return ports.staging.receive(target, open, () => undefined);
}
