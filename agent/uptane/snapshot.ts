/** Gets a repository's newest Timestamp and the Snapshot it lists. */
import { OtaError } from '../errors.ts';
import { fetchFile, fetchRequired, type Conversation } from './conversation.ts';
import type { Snapshot } from './metadata.ts';
import type { MetadataStore } from './store.ts';
import type { Trusted } from './trust.ts';

/**
 * Timestamp first, which says whether there is anything new at all.
 *
 * Source: Uptane Standard 2.1 §5.4.4.4 and §5.4.4.5.
 *
 * @throws OtaError METADATA_MISSING, METADATA_TOO_LARGE and those of `addTimestamp`, `addSnapshot`
 */
export function* updateSnapshot(store: MetadataStore): Conversation<Trusted<Snapshot>> {
  const snapshot = yield* updateSnapshotIfServed(store);
  if (snapshot === undefined) {
    throw new OtaError('METADATA_MISSING', { repo: store.repo, file: 'timestamp.json' });
  }
  return snapshot;
}

/**
 * The same for a repository that need not have them.
 *
 * @returns `undefined` if there is no Timestamp
 * @throws OtaError METADATA_MISSING if there is one, but no Snapshot; otherwise as `updateSnapshot`
 */
export function* updateSnapshotIfServed(
  store: MetadataStore,
): Conversation<Trusted<Snapshot> | undefined> {
  const { repo, format } = store;
  const bytes = yield* fetchFile(repo, 'timestamp.json', format.maxBytes.timestamp);
  if (bytes === undefined) return undefined;
  const isKept = store.isKept('timestamp', bytes);
  const { snapshot: listed } = store.addTimestamp(bytes);
  if (!isKept && store.isKept('timestamp', bytes)) {
    yield { need: 'keep', repo, role: 'timestamp', bytes };
  }

  const kept = store.keptSnapshot(listed);
  if (kept !== undefined) return kept;
  const maxBytes = Math.min(listed.lengthBytes ?? Infinity, format.maxBytes.snapshot);
  const served = yield* fetchRequired(repo, format.snapshotFile(store.root, listed), maxBytes);
  const snapshot = store.addSnapshot(served, listed);
  yield { need: 'keep', repo, role: 'snapshot', bytes: served };
  return snapshot;
}
