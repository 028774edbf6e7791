/**
 * Verification of an update that comes on a medium (Uptane PURE-2), as a conversation.
 *
 * Of the Director it has Root, Offline Snapshot and Offline Updates, of the Image repository all but
 * the Timestamp. What both ways share is one memory: a Root, a Snapshot or Targets of the Image
 * repository are the newest that ever came, whichever way they came.
 */
import { OtaError } from '../errors.ts';
import {
  verifyFresh,
  verifyHashes,
  verifyLength,
  verifyListedVersion,
  verifyThreshold,
} from './checks.ts';
import { fetchRequired, type Conversation } from './conversation.ts';
import { findTarget, type ImageRepository } from './delegations.ts';
import type { Format } from './format.ts';
import type { EcuInventory } from './inventory.ts';
import { lockboxRole, readLockbox, type Lockbox } from './lockbox.ts';
import { matchTarget } from './match.ts';
import { parseOfflineUpdates, type File, type Snapshot, type Targets } from './metadata.ts';
import { verifyRoleName } from './names.ts';
import { OFFLINE_SNAPSHOT, offlineAuthority, updateOfflineSnapshot } from './offline-snapshot.ts';
import { hasPending, planInstallation, type TrustedTarget } from './plan.ts';
import { updateRoot } from './root.ts';
import { MetadataStore } from './store.ts';
import { updateTargets } from './targets.ts';
import type { Instant } from './time.ts';

export interface OfflineInput {
  /** Where the medium is, for failures. */
  readonly source: string;
  /** Names of the lockboxes to look at: those on the medium, or the one that a person chose. */
  readonly lockboxes: readonly string[];
  /** Trusted metadata as kept before, by `REPO/ROLE`. `director/root` and `image/root` must be there. */
  readonly trusted: ReadonlyMap<string, Uint8Array>;
  /** The first one is the Primary. */
  readonly inventory: readonly EcuInventory[];
  readonly now: Instant;
  /** The Uptane dialect for both: PURE-2 knows no other. */
  readonly directorFormat?: Format;
  readonly imageFormat?: Format;
}

/** Where an update came from that did not come from the gateway. */
export interface OfflineSource {
  /** The directory that the medium is at. */
  readonly source: string;
  readonly lockbox: string;
}

export interface OfflineVerdict {
  readonly outcome: 'up-to-date' | 'update';
  readonly lockbox: string;
  readonly correlationId: string;
  /** What has to be installed, in this order; empty when up to date. */
  readonly targets: readonly TrustedTarget[];
}

/**
 * Verifies what is on a medium and decides what has to be installed of it.
 *
 * Every lockbox that is looked at has to be right, also where another one is for this device: a medium
 * that somebody has changed is not one to pick from.
 *
 * Source: Uptane PURE-2; Uptane Standard 2.1 §5.4.4.2 steps 2 to 10 for what it does not change.
 *
 * @throws OtaError OFFLINE_NOT_ALLOWED, OFFLINE_NOT_FOR_DEVICE, OFFLINE_AMBIGUOUS
 * @throws OtaError any code that ends a command with exit code 20; STORAGE_CORRUPT
 */
export function* verifyOffline(input: OfflineInput): Conversation<OfflineVerdict> {
  const { trusted, inventory, now, directorFormat, imageFormat } = input;
  const director = new MetadataStore('director', trusted, now, directorFormat);
  yield* updateRoot(director);
  const snapshot = yield* updateOfflineSnapshot(director, trusted, now);
  const lockboxes: Lockbox[] = [];
  for (const name of input.lockboxes) {
    const file = yield* fetchLockbox(director, snapshot, name, now);
    lockboxes.push(readLockbox(name, file, inventory));
  }
  const { name: lockbox, assignments, correlationId } = theOneFor(input, lockboxes);
  const found = { lockbox, correlationId };
  if (!hasPending(assignments, inventory)) return { outcome: 'up-to-date', targets: [], ...found };

  const image = new MetadataStore('image', trusted, now, imageFormat);
  const repository = yield* updateImageOffline(image);
  const targets: TrustedTarget[] = [];
  for (const assignment of assignments) {
    for (const ecu of inventory) {
      if (!assignment.ecus.has(ecu.serial)) continue;
      const { filename } = assignment;
      const file = yield* findTarget(repository, { filename, hardwareId: ecu.hardwareId });
      targets.push(matchTarget(assignment, file, ecu));
    }
  }
  return { outcome: 'update', targets: planInstallation(targets, inventory), ...found };
}

/** @throws OtaError SNAPSHOT_ROLE_MISSING, METADATA_*, OFFLINE_NOT_ALLOWED, THRESHOLD_NOT_MET */
function* fetchLockbox(
  { root, format }: MetadataStore,
  snapshot: Snapshot,
  name: string,
  now: Instant,
): Conversation<File<Targets>> {
  const subject = { repo: 'director', role: lockboxRole(name) } as const;
  // It becomes the name of a file.
  verifyRoleName(name, `director/${subject.role}`);
  const listed = snapshot.files.get(`${name}.json`);
  if (listed === undefined) throw new OtaError('SNAPSHOT_ROLE_MISSING', subject);
  const authority = offlineAuthority('offline-updates', root);
  const maxBytes = Math.min(listed.lengthBytes ?? Infinity, format.maxBytes.targets.director);
  const bytes = yield* fetchRequired('director', `${name}.json`, maxBytes);
  const file = parseOfflineUpdates(bytes, subject.role);
  verifyLength(subject, file, listed, OFFLINE_SNAPSHOT);
  verifyHashes(subject, file, listed, OFFLINE_SNAPSHOT);
  verifyThreshold(subject, file, authority);
  verifyListedVersion(subject, file, listed);
  verifyFresh(subject, file.body, now);
  return file;
}

/** Which update to install is a person's to say where there is a choice. */
function theOneFor(
  { source, inventory }: Pick<OfflineInput, 'source'> & { inventory: readonly EcuInventory[] },
  lockboxes: readonly Lockbox[],
): Lockbox {
  const fitting = lockboxes.filter(({ assignments }) => assignments.length > 0);
  const [first, ...others] = fitting;
  const named = (all: readonly Lockbox[]): string => all.map(({ name }) => name).join(', ');
  if (first === undefined) {
    const hardwareIds = inventory.map(({ hardwareId }) => hardwareId).join(', ');
    throw new OtaError('OFFLINE_NOT_FOR_DEVICE', {
      source,
      lockboxes: named(lockboxes),
      hardwareIds,
    });
  }
  if (others.length === 0) return first;
  throw new OtaError('OFFLINE_AMBIGUOUS', { source, lockboxes: named(fitting) });
}

/** Without a Timestamp there is nobody to say that the Snapshot is the newest: only that none was newer. */
function* updateImageOffline(store: MetadataStore): Conversation<ImageRepository> {
  yield* updateRoot(store);
  const bytes = yield* fetchRequired('image', 'snapshot.json', store.format.maxBytes.snapshot);
  const isKept = store.isKept('snapshot', bytes);
  const snapshot = store.addSnapshot(bytes);
  if (!isKept) yield { need: 'keep', repo: 'image', role: 'snapshot', bytes };
  const wanted = store.topLevelTargets(snapshot);
  const targets = yield* updateTargets(store, wanted, (read) => read);
  return { store, snapshot, targets };
}
