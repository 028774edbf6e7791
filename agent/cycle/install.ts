/** Staged images to where they will run from, through the Installer port. */
import type { LocalPorts, Ports, Progress } from '../ports.ts';
import type { TrustedTarget } from '../uptane/plan.ts';
import { queueEvent } from './events.ts';
import { failureOf } from './failure.ts';
import type { Event, Plan } from './machine.ts';

export async function write(plan: Plan, ports: Ports): Promise<Event> {
  try {
    for (const target of plan.targets) {
      await queueEvent(ports, 'EcuInstallationStarted', { plan, target });
      await writeOne(target, ports, (done, total) => {
        ports.reporter.progress('install', target.filename, done, total);
      });
    }
    return { type: 'written', bootId: ports.boot.bootId };
  } catch (error) {
    return { type: 'install-failed', failure: failureOf(error) };
  }
}

async function writeOne(target: TrustedTarget, ports: Ports, progress: Progress): Promise<void> {
  const { installer } = ports;
  if (installer.takes === 'stream') return installer.prove(target, progress);
  return installer.write(target, await staged(target, ports), progress);
}

export async function activate(plan: Plan, ports: Ports): Promise<Event> {
  const takesEffect = ports.installer.needsReboot ? 'after-reboot' : 'now';
  try {
    for (const target of plan.targets) {
      await ports.installer.activate(target);
      if (ports.installer.needsReboot) {
        await queueEvent(ports, 'EcuInstallationApplied', { plan, target });
      }
    }
    return { type: 'activated', takesEffect };
  } catch (error) {
    return { type: 'install-failed', failure: failureOf(error) };
  }
}

export async function rollBack(plan: Plan, ports: LocalPorts): Promise<void> {
  for (const target of plan.targets.toReversed()) {
    await ports.installer.rollBack(target);
    await queueEvent(ports, 'EcuInstallationCompleted', { plan, target, success: false });
  }
}

/** Downloaded already, but whoever emptied the staging directory since must not stop the update. */
function staged(target: TrustedTarget, ports: Ports): Promise<string> {
  return ports.staging.receive(
    target,
    (offsetBytes) => ports.repositories.openImage(target, offsetBytes),
    () => undefined,
  );
}
