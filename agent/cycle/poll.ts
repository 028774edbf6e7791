/** One poll: tell the Director what runs, verify what it wants, and say what has to be installed. */
import { isOtaError } from '../errors.ts';
import type { Ports } from '../ports.ts';
import { verify as verifyRepositories, type Verdict } from '../uptane/verify.ts';
import { flushEvents } from './events.ts';
import { answerFrom, converse } from './fetch.ts';
import type { Plan } from './machine.ts';
import { noteAttack } from './note-attack.ts';
import { sendManifest } from './report.ts';
import { sealRisen } from './seal.ts';
import { planDigest } from './state.ts';

/** What a poll found. */
export type Finding =
  | { readonly found: 'nothing' }
  | { readonly found: 'update'; readonly plan: Plan }
  /** Wanted still, but it failed on this device and is not tried again by itself. */
  | { readonly found: 'failed-before'; readonly plan: Plan };

/**
 * Reports and verifies.
 *
 * @throws OtaError METADATA_* and its kin when metadata is refused, GATEWAY_* when it cannot be had
 */
export async function poll(ports: Ports): Promise<Finding> {
  await sendManifest(ports, undefined);
  await flushEvents(ports);
  const { outcome, targets, correlationId } = await verify(ports);
  if (outcome === 'up-to-date') return { found: 'nothing' };
  const plan = { correlationId, targets };
  const failed = (await ports.store.failedPlan()) === planDigest(plan);
  return { found: failed ? 'failed-before' : 'update', plan };
}

/**
 * Verifies both repositories and keeps what can be trusted.
 *
 * A refusal is remembered for the next manifest: the Director must learn of an attack on the device.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1 (attack indicator), §5.4.4.2.
 */
export async function verify(ports: Ports): Promise<Verdict> {
  const { store, clock, vehicleId, directorFormat, imageFormat } = ports;
  const trusted = await store.loadTrusted();
  const inventory = await store.inventory();
  const now = clock.now();
  try {
    const input = { trusted, inventory, now, vehicleId, directorFormat, imageFormat };
    const talk = verifyRepositories(input);
    const verdict = await converse(talk, (need) => answerFrom(ports, need));
    await store.saveRefusal(undefined);
    // Now and not before: metadata that is fresh vouches for the time, whoever said it. A clock that
    // jumped to 2100 and a time server that lies find everything expired, and leave no floor behind.
    await store.raiseLatestKnownTime(now);
    clock.raiseFloor(await store.latestKnownTime());
    return verdict;
  } catch (error) {
    if (!isOtaError(error)) throw error;
    const { attack, exit } = error.handling;
    if (attack !== undefined || exit === 20) await store.saveRefusal(error.code);
    await noteAttack(error.code, store);
    throw error;
  } finally {
    // Also what was kept before a refusal.
    await sealRisen(ports);
  }
}
