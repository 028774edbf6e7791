/**
 * Full verification (Uptane Standard 2.1 §5.4.4.2) as a conversation.
 *
 * These generators never touch the network or the disk. They say what they need next and are
 * answered; the test suite answers from a map, the daemon from a repository.
 */
import type { Conversation } from './conversation.ts';
import { findTarget, type ImageRepository } from './delegations.ts';
import { readDirectorTargets, type DirectorTargets } from './director.ts';
import type { Format } from './format.ts';
import type { EcuInventory } from './inventory.ts';
import { matchTarget } from './match.ts';
import type { Listing } from './metadata.ts';
import { refreshOfflineSnapshot } from './offline-snapshot.ts';
import { hasPending, planInstallation, type TrustedTarget } from './plan.ts';
import { updateRoot } from './root.ts';
import { updateSnapshot, updateSnapshotIfServed } from './snapshot.ts';
import type { Observer, Passed, RoleSeen } from './observer.ts';
import { MetadataStore } from './store.ts';
import { withoutSuperseded } from './superseded.ts';
import { updateTargets } from './targets.ts';
import type { Instant } from './time.ts';

export interface VerifyInput {
  /** Trusted metadata as kept before, by `REPO/ROLE`. `director/root` and `image/root` must be there. */
  readonly trusted: ReadonlyMap<string, Uint8Array>;
  /** The first one is the Primary. */
  readonly inventory: readonly EcuInventory[];
  readonly now: Instant;
  /** The Director's is always the Uptane dialect, and that is the default for both. */
  readonly directorFormat?: Format;
  readonly imageFormat?: Format;
  /** Held against the identifier in empty Director Targets, where the Director sends one. */
  readonly vehicleId?: string;
  /** What an update on a medium has replaced, by the names of `superseded.ts`. */
  readonly superseded?: ReadonlySet<string>;
  /** Told what held and what is believed, as it happens. */
  readonly observer?: Observer;
}

export interface Verdict {
  /** `up-to-date`: every ECU named runs what both repositories want, or nothing is wanted. */
  readonly outcome: 'up-to-date' | 'update';
  /** What has to be installed, in this order; empty when up to date. */
  readonly targets: readonly TrustedTarget[];
  readonly correlationId?: string;
  /** Every role that this verdict rests on. */
  readonly roles: readonly RoleSeen[];
}

/**
 * Verifies the metadata of both repositories and decides what has to be installed.
 *
 * When nothing new is wanted the Image repository is not asked (§5.4.4.2 step 6): an idle poll is
 * two small requests. Otherwise every image the Director names has to be found in it, also those
 * that run already.
 *
 * Source: Uptane Standard 2.1 §5.4.4.2.
 *
 * @throws OtaError any code that ends a command with exit code 20; STORAGE_CORRUPT
 */
export function* verify(input: VerifyInput): Conversation<Verdict> {
  const { trusted, now, directorFormat, imageFormat, observer } = input;
  const director = new MetadataStore('director', trusted, now, directorFormat).watch(observer);
  const image = new MetadataStore('image', trusted, now, imageFormat).watch(observer);
  const { assignments: all, correlationId } = yield* updateDirector(director, input);
  const assignments = withoutSuperseded(all, correlationId, input.superseded ?? new Set());
  const named = correlationId === undefined ? {} : { correlationId };
  if (!hasPending(assignments, input.inventory)) {
    observer?.passed(NOTHING_NEW);
    return { outcome: 'up-to-date', targets: [], ...named, roles: director.seen };
  }
  const repository = yield* updateImage(image);
  const targets: TrustedTarget[] = [];
  for (const assignment of assignments) {
    for (const ecu of input.inventory) {
      if (!assignment.ecus.has(ecu.serial)) continue;
      const wanted = { filename: assignment.filename, hardwareId: ecu.hardwareId };
      const found = yield* findTarget(repository, wanted);
      const about = { filename: assignment.filename, ecu: ecu.serial };
      observer?.passed({ ...FOUND, facts: about });
      const imageFile = image.format.imageFile(image.root, assignment.filename, found);
      targets.push(matchTarget(assignment, found, ecu, imageFile));
      observer?.passed({ ...MATCH, facts: about });
    }
  }
  const pending = planInstallation(targets, input.inventory);
  return {
    outcome: 'update',
    targets: pending,
    ...named,
    roles: [...director.seen, ...image.seen],
  };
}

/**
 * Brings the kept metadata of both repositories up to date, whether or not anything is wanted.
 *
 * @throws OtaError as `verify`
 */
export function* refresh(input: VerifyInput): Conversation<void> {
  const { trusted, now, directorFormat, imageFormat } = input;
  const director = new MetadataStore('director', trusted, now, directorFormat);
  yield* updateDirector(director, input);
  yield* refreshOfflineSnapshot(director, trusted, now);
  yield* updateImage(new MetadataStore('image', trusted, now, imageFormat));
}

/**
 * Director: Root, Timestamp, Snapshot, Targets (steps 2 to 5).
 *
 * Directors made for the reference client may serve no Timestamp, because it never asks. One that
 * was trusted once must stay, or leaving it out would be a way to freeze the device.
 *
 * Of what the Snapshot says about Targets the version alone is binding here, which is all that the
 * Standard has it say (§5.2.4). Targets of a Director are made for one vehicle, and tools of the
 * field add signatures to them without a new Snapshot, which changes hash and length of the file.
 */
function* updateDirector(
  store: MetadataStore,
  vehicle: VerifyInput,
): Conversation<DirectorTargets> {
  yield* updateRoot(store);
  const update = store.has('timestamp') ? updateSnapshot : updateSnapshotIfServed;
  const snapshot = yield* update(store);
  const wanted = store.topLevelTargets(snapshot);
  const listed = wanted.listed && versionOnly(wanted.listed);
  return yield* updateTargets(store, { ...wanted, listed }, (targets) => {
    const read = readDirectorTargets(targets, vehicle);
    vehicle.observer?.passed({ ...ASSIGNMENTS, facts: { images: read.assignments.length } });
    return read;
  });
}

/** Image repository, or any TUF repository: Root, Timestamp, Snapshot, top-level Targets (steps 7 to 10). */
export function* updateImage(store: MetadataStore): Conversation<ImageRepository> {
  yield* updateRoot(store);
  const snapshot = yield* updateSnapshot(store);
  const wanted = store.topLevelTargets(snapshot);
  const targets = yield* updateTargets(store, wanted, (read) => read);
  return { store, snapshot, targets };
}

const ABOUT_DIRECTOR = { repo: 'director', role: 'targets' } as const;
const ASSIGNMENTS = {
  ...ABOUT_DIRECTOR,
  check: 'assignments',
  clause: '§5.4.4.6 steps 6 to 8',
} as const;
const NOTHING_NEW: Passed = {
  ...ABOUT_DIRECTOR,
  check: 'nothing-new',
  clause: '§5.4.4.2 step 6',
  facts: {},
};
const ABOUT_IMAGE = { repo: 'image', role: undefined } as const;
const FOUND = { ...ABOUT_IMAGE, check: 'found', clause: '§5.4.4.7' } as const;
const MATCH = { ...ABOUT_IMAGE, check: 'match', clause: '§5.4.4.2 step 10' } as const;

/** What of a listing binds a Director's Targets. */
export function versionOnly({ version }: Listing): Listing {
  return { version, lengthBytes: undefined, hashes: new Map() };
}

export type { Answer, Conversation, Keep, Need } from './conversation.ts';
