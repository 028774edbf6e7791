/** Performs one effect and says what happened. Expected failures come back as events. */
import type { Ports } from '../ports.ts';
import { bootedImage, confirm } from './confirm.ts';
import { download } from './download.ts';
import { holdBack } from './hold.ts';
import { activate, checkReturn, rollBack, write } from './install.ts';
import type { Effect, Event, Plan, Result } from './machine.ts';
import { sendManifest } from './report.ts';

/**
 * @returns what happened, or `undefined` when nothing more can happen now: a reboot, another poll
 *   or a person has to come first
 * @throws OtaError GATEWAY_* when the Director could not be told; the state stays as it is
 */
export async function perform(effect: Effect, ports: Ports): Promise<Event | undefined> {
  switch (effect.do) {
    case 'download':
      return heldOr(await download(effect.plan, effect.attempt, ports), effect.plan, ports);
    case 'write':
      return write(effect.plan, ports);
    case 'activate':
      return activate(effect.plan, ports);
    case 'reboot':
      await ports.boot.reboot();
      return undefined;
    case 'check-boot':
      return bootedImage(effect.plan, ports);
    case 'confirm':
      return confirm(effect, ports);
    case 'roll-back':
      return rollBack(effect, ports);
    case 'check-return':
      return checkReturn(effect, ports);
    case 'report':
      return report(effect.result, ports);
    case 'wait':
      return undefined;
  }
}

/**
 * A device may have no way to the Director for years, and its next medium must not wait for one: the
 * result of an offline update is always told by a later poll.
 */
async function report(result: Result, ports: Ports): Promise<Event> {
  const isLater = ports.isOffline === true || result.plan.offline !== undefined;
  if (!isLater) await sendManifest(ports, result);
  if (ports.limits.keepImages === 'until-done') await ports.staging.sweep([]);
  return { type: 'reported', ...(isLater ? { later: true } : {}) };
}

/** Nothing is written while something holds the installation back. */
async function heldOr(event: Event, plan: Plan, ports: Ports): Promise<Event> {
  if (event.type !== 'downloaded') return event;
  return (await holdBack(plan, 'install', ports)) === undefined ? event : { type: 'held', plan };
}
