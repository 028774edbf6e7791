/** One cycle for an update that came on a medium: as any other, but that it has and needs no network. */
import { OtaError } from '../errors.ts';
import type { Media, Ports } from '../ports.ts';
import { verifyOffline, type OfflineVerdict } from '../uptane/offline.ts';
import { goOn, outcomeOf, type Outcome } from './cycle.ts';
import { drive, loadState, remember, resumed, type Rest } from './drive.ts';
import { answerFrom, converse } from './fetch.ts';
import { finishRollBack } from './go-back.ts';
import { noteGoodBoot } from './good-boot.ts';
import { isAtRest, next, type Plan, type State } from './machine.ts';
import { backsOffUntil, judged } from './poll.ts';
import { demandCurrent } from './recover.ts';
import { isPartOf, planDigest } from './state.ts';

export interface Offer {
  /** The directory that the medium is at. */
  readonly source: string;
  /** Which update on it, where a person chose one. */
  readonly lockbox?: string;
  /** `hand`: a person wants it now, also if it failed before. */
  readonly by: 'hand' | 'itself';
}

/**
 * Verifies what is on a medium and installs it, as far as it can go now.
 *
 * What is under way and cannot be taken back goes first; a download from the gateway, or an update
 * that waits, makes way for it: the Director names that again.
 *
 * @throws OtaError when metadata is refused or the medium cannot be read; nothing is lost by it
 * @throws OtaError STORAGE_ROLLED_BACK, TOKEN_REPLACED before anything else is done
 * @throws OtaError USAGE where this agent takes no offline updates
 */
export async function runOfflineCycle(online: Ports, offer: Offer): Promise<Outcome> {
  const ports: Ports = { ...online, isOffline: true };
  const media = mediaOf(ports);
  await noteGoodBoot(ports);
  await demandCurrent(ports);
  await finishRollBack(ports);
  const before = await settled(ports);
  if (!mayMakeWay(before.state)) return outcomeOf(before);
  const { outcome, targets, ...named } = await verifyMedium(offer, media, ports);
  // What was confirmed just now came from this medium, as like as not.
  if (outcome === 'up-to-date') return outcomeOf(before);
  const { correlationId, lockbox } = named;
  const plan: Plan = { correlationId, targets, offline: { source: offer.source, lockbox } };
  const refused = offer.by === 'hand' ? undefined : await notAgain(plan, ports);
  if (refused !== undefined) return refused;
  demandOnMedium(plan, ports);
  await media.demandImages(offer.source, targets);
  return goOn(await madeWay(before.state, ports), plan, ports);
}

function mediaOf({ media, imageFormat }: Ports): Media {
  if (media === undefined) {
    const remedy = 'set separation.installer = false: the other process verifies for itself';
    throw new OtaError('USAGE', { what: 'this agent takes no offline updates', remedy });
  }
  if (imageFormat.name === 'uptane') return media;
  const what = `offline updates have no Image repository of the dialect ${imageFormat.name}`;
  throw new OtaError('USAGE', { what, remedy: 'uptane.dialect = "uptane"' });
}

/** What was interrupted, to its end or to where only a boot or time helps. */
async function settled(ports: Ports): Promise<Rest> {
  const state = await loadState(ports.store);
  if (mayMakeWay(state)) return { state, ended: undefined, failure: undefined };
  const step = await resumed(ports);
  return drive(step.state, step.effect, ports);
}

function mayMakeWay(state: State): boolean {
  return isAtRest(state) || state.at === 'downloading';
}

async function madeWay(state: State, ports: Ports): Promise<State> {
  if (state.at === 'idle') return state;
  const step = next(state, { type: 'withdrawn' });
  await remember(state, step.state, ports);
  return step.state;
}

/**
 * The time is not learned from it: metadata that is good for a year would let a clock that is months
 * ahead leave a floor behind, and all of the gateway's would look expired.
 */
async function verifyMedium(
  { source, lockbox }: Offer,
  media: Media,
  ports: Ports,
): Promise<OfflineVerdict> {
  const { store, clock, directorFormat, imageFormat } = ports;
  const there = await media.lockboxes(source);
  const lockboxes = lockbox === undefined ? there : [lockbox];
  const [trusted, inventory] = [await store.loadTrusted(), await store.inventory()];
  const known = { trusted, inventory, now: clock.now(), directorFormat, imageFormat };
  const from = { ...ports, repositories: media.open(source) };
  return judged(ports, () =>
    converse(verifyOffline({ source, lockboxes, ...known }), (need) => answerFrom(from, need)),
  );
}

/** Nobody asked for it: a stick that stays in must not try the same for ever. */
async function notAgain(plan: Plan, ports: Ports): Promise<Outcome | undefined> {
  if (isPartOf(planDigest(plan), await ports.store.failedPlan())) {
    return { outcome: 'failed-before', plan };
  }
  const until = await backsOffUntil(plan, ports);
  return until === undefined ? undefined : { outcome: 'deferred', plan, until };
}

/** @throws OtaError INSTALL_FAILED for what is pulled over the network, piece by piece */
function demandOnMedium({ targets }: Plan, { installers }: Ports): void {
  for (const { ecu } of targets) {
    const installer = installers.of(ecu).kind;
    if (installer !== 'ostree') continue;
    const cause = 'commits come over the network alone: no medium has them';
    throw new OtaError('INSTALL_FAILED', { installer, ecu, cause });
  }
}
