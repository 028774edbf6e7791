/** The Director's list of everything that it has signed for media (Uptane PURE-2, Offline Snapshot). */
import { OtaError } from '../errors.ts';
import {
  meetsThreshold,
  verifyFresh,
  verifyNotOlder,
  verifySnapshotGrows,
  verifyThreshold,
} from './checks.ts';
import { fetchFile, fetchRequired, type Conversation } from './conversation.ts';
import { KeptFiles } from './kept-files.ts';
import type { Authority } from './keys.ts';
import { lockboxRole } from './lockbox.ts';
import {
  parseOfflineSnapshot,
  type File,
  type OfflineRole,
  type Root,
  type Snapshot,
} from './metadata.ts';
import type { MetadataStore } from './store.ts';
import type { Instant } from './time.ts';

/** The role that is kept of it, beside those of the Director's online metadata. */
export const OFFLINE_SNAPSHOT = 'offline-snapshot';
const FILE = 'offline-snapshot.json';

type Kept = ReadonlyMap<string, Uint8Array>;

/**
 * Believes the list and keeps it: its version never goes down, nor that of anything it lists.
 *
 * Source: Uptane PURE-2; Uptane Standard 2.1 §5.4.4.5 steps 3 to 7 for each check.
 *
 * @throws OtaError METADATA_MISSING, METADATA_TOO_LARGE, OFFLINE_NOT_ALLOWED, THRESHOLD_NOT_MET,
 *   VERSION_ROLLBACK, SNAPSHOT_ROLE_REMOVED, METADATA_EXPIRED
 */
export function* updateOfflineSnapshot(
  { root, format }: MetadataStore,
  trusted: Kept,
  now: Instant,
): Conversation<Snapshot> {
  const bytes = yield* fetchRequired('director', FILE, format.maxBytes.snapshot);
  const { body } = verify(bytes, root, keptOfflineSnapshot(trusted, root), now);
  yield* kept(bytes, trusted);
  return body;
}

/**
 * Asks a Director that serves it, for a device whose storage is older than what was sealed.
 *
 * @throws OtaError as `updateOfflineSnapshot`, but if there is none
 */
export function* refreshOfflineSnapshot(
  { root, format }: MetadataStore,
  trusted: Kept,
  now: Instant,
): Conversation<void> {
  if (root.offline?.[OFFLINE_SNAPSHOT] === undefined) return;
  const bytes = yield* fetchFile('director', FILE, format.maxBytes.snapshot);
  if (bytes === undefined) return;
  verify(bytes, root, keptOfflineSnapshot(trusted, root), now);
  yield* kept(bytes, trusted);
}

/** The same once more costs no write. */
function* kept(bytes: Uint8Array, trusted: Kept): Conversation<void> {
  const before = trusted.get(`director/${OFFLINE_SNAPSHOT}`);
  if (before !== undefined && Buffer.compare(before, bytes) === 0) return;
  yield { need: 'keep', repo: 'director', role: OFFLINE_SNAPSHOT, bytes };
}

/**
 * The one kept before, as far as it counts: not if a newer root has replaced its keys.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3 step 4, for this Snapshot.
 *
 * @throws OtaError STORAGE_CORRUPT
 */
export function keptOfflineSnapshot(trusted: Kept, { offline }: Root): File<Snapshot> | undefined {
  const authority = offline?.[OFFLINE_SNAPSHOT];
  if (authority === undefined) return undefined;
  const file = new KeptFiles('director', trusted).read(OFFLINE_SNAPSHOT, parseOfflineSnapshot);
  return file !== undefined && meetsThreshold(file, authority) ? file : undefined;
}

/**
 * Arbitrary software: who is not named for a role cannot sign for it, whatever else he signs.
 *
 * @throws OtaError OFFLINE_NOT_ALLOWED
 */
export function offlineAuthority(role: OfflineRole, { offline, version }: Root): Authority {
  const authority = offline?.[role];
  if (authority !== undefined) return authority;
  throw new OtaError('OFFLINE_NOT_ALLOWED', { role, rootVersion: version });
}

function verify(
  bytes: Uint8Array,
  root: Root,
  previous: File<Snapshot> | undefined,
  now: Instant,
): File<Snapshot> {
  const subject = { repo: 'director', role: OFFLINE_SNAPSHOT } as const;
  const authority = offlineAuthority(OFFLINE_SNAPSHOT, root);
  const file = parseOfflineSnapshot(bytes);
  verifyThreshold(subject, file, authority);
  verifyNotOlder(subject, previous?.body, file.body.version);
  if (previous !== undefined) {
    verifySnapshotGrows('director', previous.body, file.body, lockboxRole);
  }
  verifyFresh(subject, file.body, now);
  return file;
}
