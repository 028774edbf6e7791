/** A disk that was put back: it may tell, and fetch what it lost, and nothing else. */
import { isOtaError, type FailureRow, type Repo } from '../errors.ts';
import type { CatchUp, Ports } from '../ports.ts';
import { rootDigest } from '../uptane/floors.ts';
import type { Seal } from '../uptane/seal.ts';
import type { Behind } from '../uptane/standing.ts';
import { trust } from '../uptane/trust.ts';
import { refresh, type Need } from '../uptane/verify.ts';
import { attestTime } from './attest-time.ts';
import { answerFrom, converse } from './fetch.ts';
import { noteAttack } from './note-attack.ts';
import { sendManifest } from './report.ts';
import { acknowledge, look, replaced, rolledBack, sealRisen, type View } from './seal.ts';
import { formatState } from './state.ts';

/**
 * Compares disk and seal before anything else is done with either.
 *
 * A disk that is behind may still tell the Director and fetch metadata that is at least what was
 * sealed; nothing that was under way on it goes on, and nothing is installed in this cycle.
 *
 * @throws OtaError STORAGE_ROLLED_BACK, TOKEN_REPLACED
 */
export async function demandCurrent(ports: Ports): Promise<void> {
  const view = await look(ports);
  if (view === undefined) return;
  const { standing, binding, seal } = view;
  if (standing.is === 'foreign') throw replaced(view.anchor, standing.problem);
  if (standing.is === 'behind' && seal !== undefined) return recover(ports, seal, view, standing);
  // Power may have failed between the first seal and the note that it was made.
  if (standing.is === 'current' && !binding.sealed) await acknowledge(ports, binding);
  await sealRisen(ports);
}

/** @throws OtaError STORAGE_ROLLED_BACK always: the next cycle goes on, if this one could catch up */
async function recover(
  ports: Ports,
  seal: Seal,
  { binding }: View,
  behind: Behind,
): Promise<never> {
  const { store, clock } = ports;
  const { stateId, sequence, releases, latestKnownTime } = seal;
  // With the number caught up the counters have been, too: not again, or each cycle burns a block.
  const isFirst = binding.stateId === undefined || binding.sequence < sequence;
  const caughtUp: CatchUp = {
    reports: isFirst ? seal.reports : 0,
    latestKnownTime,
    releases,
    unknown: await notRunning(ports),
    binding: isFirst ? { stateId, sequence, sealed: true, failed: undefined } : binding,
    // What was under way on the old disk is not under way on this device.
    state: formatState({ at: 'idle' }),
    attack: 'STORAGE_ROLLED_BACK',
  };
  await store.catchUp(caughtUp);
  clock.raiseFloor(await store.latestKnownTime());
  await attestTime(ports);
  await attempt(ports, () => sendManifest(ports, undefined));
  if (behind.canCatchUp) await attempt(ports, () => fetchAgain(ports, seal));
  throw rolledBack(behind);
}

/** The old disk may say that an image runs which was replaced since: a report of that were a lie. */
async function notRunning({ store, installers }: Ports): Promise<readonly string[]> {
  const unknown: string[] = [];
  for (const { serial, hardwareId, installed } of await store.inventory()) {
    if (installed === undefined) continue;
    const target = trust({ ...installed, hardwareId });
    const runs = await Promise.resolve()
      .then(() => installers.of(serial).booted(target))
      .catch(() => false);
    if (!runs) unknown.push(serial);
  }
  return unknown;
}

/** Fetches the metadata of both repositories again, along the roots that were trusted before. */
async function fetchAgain(ports: Ports, seal: Seal): Promise<void> {
  const { store, clock, vehicleId, directorFormat, imageFormat } = ports;
  const trusted = await store.loadTrusted();
  const inventory = await store.inventory();
  const now = clock.now();
  const talk = refresh({ trusted, inventory, now, vehicleId, directorFormat, imageFormat });
  await converse(talk, async (need) => {
    demandSealedRoot(seal, need, { director: directorFormat, image: imageFormat });
    return answerFrom(ports, need);
  });
}

/** Keys that were rotated out may sign another root of the sealed version, for an old disk only. */
function demandSealedRoot(
  seal: Seal,
  need: Need,
  formats: Readonly<Record<Repo, Ports['imageFormat']>>,
): void {
  if (need.need !== 'keep' || need.role !== 'root' || need.bytes === undefined) return;
  const { repo, bytes } = need;
  const { version } = formats[repo].parseRoot(bytes, repo).body;
  const [sealed = '', found] = [seal.roots.get(repo), rootDigest(bytes)];
  if (version !== seal.versions.get(`${repo}/root`) || sealed === found) return;
  throw rolledBack({ what: `${repo}/root`, sealed, found });
}

/** What the network or a repository is to blame for is logged and told, and ends nothing here. */
async function attempt(ports: Ports, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!isOtaError(error) || !OUTSIDE.has(error.handling.kind)) throw error;
    ports.reporter.refused(error);
    await noteAttack(error.code, ports.store);
  }
}

const OUTSIDE: ReadonlySet<FailureRow['kind']> = new Set(['attack', 'repository', 'transport']);
