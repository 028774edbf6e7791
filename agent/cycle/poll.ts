/** One poll: tell the Director what runs, verify what it wants, and say what has to be installed. */
import { isOtaError } from '../errors.ts';
import type { Ports } from '../ports.ts';
import type { Instant } from '../uptane/time.ts';
import { verify as verifyRepositories, type Verdict } from '../uptane/verify.ts';
import { flushEvents } from './events.ts';
import { answerFrom, converse } from './fetch.ts';
import type { Plan } from './machine.ts';
import { noteAttack } from './note-attack.ts';
import { sendManifest, tellPostponed } from './report.ts';
import { sealRisen } from './seal.ts';
import { imageName, isPartOf, planDigest } from './state.ts';

/** What a poll found. */
export type Finding =
  | { readonly found: 'nothing' }
  | { readonly found: 'update'; readonly plan: Plan }
  /** Wanted still, but it failed on this device and is not tried again by itself. */
  | { readonly found: 'failed-before'; readonly plan: Plan }
  /** Assigned anew, but the same image failed more than once: not before then. */
  | { readonly found: 'backing-off'; readonly plan: Plan; readonly until: Instant };

/**
 * Reports and verifies.
 *
 * @throws OtaError METADATA_* and its kin when metadata is refused, GATEWAY_* when it cannot be had
 */
export async function poll(ports: Ports): Promise<Finding> {
  if (!(await tellPostponed(ports))) await sendManifest(ports, undefined);
  await flushEvents(ports);
  const { outcome, targets, correlationId } = await verify(ports);
  if (outcome === 'up-to-date') return { found: 'nothing' };
  const plan = { correlationId, targets };
  if (isPartOf(planDigest(plan), await ports.store.failedPlan()))
    return { found: 'failed-before', plan };
  const until = await backsOffUntil(plan, ports);
  return until === undefined ? { found: 'update', plan } : { found: 'backing-off', plan, until };
}

const FIRST_BACK_OFF_MS = 15 * 60_000;
const LONGEST_BACK_OFF_MS = 24 * 3_600_000;

/**
 * A new assignment is somebody's word that an image that failed is worth another try. A Director that
 * assigns it again and again by itself gives no such word: from the second failure on it has to wait.
 */
export async function backsOffUntil(
  plan: Plan,
  { store, clock }: Ports,
): Promise<Instant | undefined> {
  const failed = await store.failedImages();
  const now = clock.now();
  const untils = plan.targets.flatMap((target) => {
    const { failures = 0, failedAt = now } = failed.get(imageName(target)) ?? {};
    // An instant to come was written by a clock that was wrong.
    if (failures < 2 || failedAt > now) return [];
    const waitMs = Math.min(FIRST_BACK_OFF_MS * 2 ** (failures - 2), LONGEST_BACK_OFF_MS);
    return [failedAt + waitMs];
  });
  const until = Math.max(0, ...untils);
  return until > now ? (until as Instant) : undefined;
}

/** Verifies both repositories and keeps what can be trusted. Source: Uptane Standard 2.1 §5.4.4.2. */
export async function verify(ports: Ports): Promise<Verdict> {
  const { store, clock, vehicleId, directorFormat, imageFormat } = ports;
  const [trusted, inventory] = [await store.loadTrusted(), await store.inventory()];
  const superseded = await store.superseded();
  const now = clock.now();
  return judged(ports, async () => {
    const known = { trusted, inventory, superseded, now };
    const talk = verifyRepositories({ ...known, vehicleId, directorFormat, imageFormat });
    const verdict = await converse(talk, (need) => answerFrom(ports, need));
    // Now and not before: metadata that is fresh vouches for the time, whoever said it. A clock that
    // jumped to 2100 and a time server that lies find everything expired, and leave no floor behind.
    await store.raiseLatestKnownTime(now);
    clock.raiseFloor(await store.latestKnownTime());
    return verdict;
  });
}

/**
 * A refusal is remembered for the next manifest: the Director must learn of an attack on the device.
 *
 * Source: Uptane Standard 2.1 §5.4.2.1 (attack indicator).
 */
export async function judged<T>(ports: Ports, act: () => Promise<T>): Promise<T> {
  const { store } = ports;
  try {
    const verdict = await act();
    await store.saveRefusal(undefined);
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
