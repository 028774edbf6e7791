/**
 * The rollback anchor: what must not go back is also sealed in the token, where the disk is not.
 *
 * The order is always: the facts on disk, then the number of the next seal on disk, then the seal in
 * the token. Whenever the power fails, the disk is as new as the seal or newer; a disk that is older
 * was put back. Report counters are the other way round: they are used only below what is sealed.
 */
import { isOtaError, OtaError } from '../errors.ts';
import type { Anchor, Ports } from '../ports.ts';
import { floorsOf } from '../uptane/floors.ts';
import { encodeSeal, fitted, newestSeal, type Seal } from '../uptane/seal.ts';
import {
  isWorthSealing,
  raisedSeal,
  sealedAs,
  standingOf,
  type Behind,
  type Binding,
  type Holdings,
  type Standing,
} from '../uptane/standing.ts';

/** What sealing needs: everything but the way to the servers. */
export type SealingPorts = Pick<
  Ports,
  'anchor' | 'store' | 'clock' | 'reporter' | 'directorFormat' | 'imageFormat'
>;

/** What looking at both sides needs. */
export type SealView = Omit<SealingPorts, 'reporter'>;

/** Both sides, read. */
export interface View {
  readonly anchor: Anchor;
  readonly seal: Seal | undefined;
  readonly binding: Binding;
  readonly disk: Holdings;
  readonly standing: Standing;
}

/**
 * Refuses to go on with a disk that is behind, without making up for it.
 *
 * @throws OtaError STORAGE_ROLLED_BACK
 */
export async function demandNotBehind(ports: SealView): Promise<void> {
  const view = await look(ports);
  if (view?.standing.is === 'behind') throw rolledBack(view.standing);
}

/**
 * Refuses a token with the seal of another disk, or without the one that this disk had in it.
 *
 * @throws OtaError TOKEN_REPLACED
 */
export async function demandOwnToken(ports: SealView): Promise<void> {
  const view = await look(ports);
  if (view?.standing.is === 'foreign') throw replaced(view.anchor, view.standing.problem);
}

/** @returns `undefined` where nothing is sealed */
export async function look(ports: SealView): Promise<View | undefined> {
  const { anchor, store } = ports;
  if (anchor === undefined) return undefined;
  const seal = await readSeal(anchor);
  const binding = await store.binding();
  const disk = await holdingsOf(ports);
  return { anchor, seal, binding, disk, standing: standingOf(seal, binding, disk) };
}

/** Seals what rose since the last seal, if that is worth a write. */
export async function sealRisen(ports: SealingPorts): Promise<void> {
  const view = await look(ports);
  if (view === undefined) return;
  const { seal, binding, disk } = view;
  if (seal === undefined) {
    if (view.standing.is !== 'unsealed') return;
    const stateId = binding.stateId ?? ports.clock.uuid();
    await write(ports, view, fitted(sealedAs({ stateId, sequence: 1, reports: 0 }, disk)));
    return;
  }
  const next = fitted(raisedSeal(seal, disk));
  // A number that the token does not have yet: power failed before it got it, or it was put back.
  const isOwed = binding.sequence > seal.sequence;
  if (!isOwed && !isWorthSealing(seal, next)) return;
  await write(ports, view, { ...next, sequence: nextOf(seal, binding) });
}

/**
 * Seals a block of report counters before one of them is used, so that a disk which was put back
 * cannot use one again.
 */
export async function sealReports(ports: SealingPorts, counter: number): Promise<void> {
  const { anchor } = ports;
  if (anchor === undefined) return;
  const before = await readSeal(anchor);
  if (before === undefined || counter <= before.reports) return;
  const view = await look(ports);
  if (view?.seal === undefined) return;
  const { seal, binding, disk } = view;
  const raised = fitted(raisedSeal(seal, disk));
  const sequence = nextOf(seal, binding);
  await write(ports, view, { ...raised, reports: counter + BLOCK, sequence });
}

const RETRY_MS = 24 * 3_600_000;
/** So many reports are sent for one write to the token; so many are lost with a disk put back. */
const BLOCK = 1000;

/** Not lower than what the database has: an older copy of it must not look as new. */
function nextOf({ sequence }: Seal, binding: Binding): number {
  return Math.max(sequence + 1, binding.sequence);
}

async function readSeal(anchor: Anchor): Promise<Seal | undefined> {
  const seal = newestSeal(await anchor.records());
  if (seal !== 'newer') return seal;
  throw new OtaError('TOKEN_OBJECT', {
    uri: anchor.uri,
    problem: 'the seal in the token was written by a newer agent',
    remedy: 'install the newer agent again, or set token.anchor = "off"',
  });
}

async function holdingsOf({ store, ...formats }: SealView): Promise<Holdings> {
  const { directorFormat: director, imageFormat: image } = formats;
  return {
    floors: floorsOf(await store.loadTrusted(), { director, image }),
    latestKnownTime: await store.latestKnownTime(),
    releases: await store.releaseCounters(),
  };
}

/**
 * The number on disk first: whatever copy of the disk is older than this moment is then known by it.
 *
 * A token that cannot store it (no data objects, or full) keeps what it has; that is said once, and
 * is no reason to keep a device from its updates. It is tried again a day later: OP-TEE's token dies
 * when its storage is full, and takes the sessions of this process with it.
 */
export async function write(ports: SealingPorts, view: View, seal: Seal): Promise<void> {
  const { store, reporter } = ports;
  const { anchor, binding } = view;
  const { stateId, sequence } = seal;
  const { failed } = binding;
  const now = ports.clock.now();
  if (failed !== undefined && Math.abs(now - failed.at) < RETRY_MS) return;
  const intended = { ...binding, stateId, sequence };
  if (binding.sequence !== sequence || binding.stateId !== stateId) {
    await store.saveBinding(intended);
  }
  try {
    await anchor.replace(encodeSeal(seal));
  } catch (error) {
    if (!isOtaError(error) || error.code !== 'TOKEN_FAILED') throw error;
    const { cause } = error.details;
    if (failed?.cause !== cause) reporter.refused(error);
    await store.saveBinding({ ...intended, failed: { cause, at: now } });
    return;
  }
  if (!binding.sealed || failed !== undefined) await acknowledge(ports, intended);
}

export function acknowledge({ store }: SealingPorts, binding: Binding): Promise<void> {
  return store.saveBinding({ ...binding, sealed: true, failed: undefined });
}

export function rolledBack({
  what,
  sealed,
  found,
}: Pick<Behind, 'what' | 'sealed' | 'found'>): OtaError<'STORAGE_ROLLED_BACK'> {
  const remedy =
    'find out who put back an older storage; the agent goes on by itself once both repositories have ' +
    'given it metadata as new as the sealed; for a deliberate restore: ota-agent anchor accept';
  return new OtaError('STORAGE_ROLLED_BACK', { what, sealed, found, remedy });
}

export function replaced({ uri }: Anchor, problem: string): OtaError<'TOKEN_REPLACED'> {
  const remedy =
    'give the device its own token and its own storage back; if the exchange is meant: ' +
    'ota-agent provision, then ota-agent anchor accept';
  return new OtaError('TOKEN_REPLACED', { uri, problem, remedy });
}
