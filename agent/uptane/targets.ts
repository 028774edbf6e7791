/** Gets one Targets file, top-level or delegated, from where it is: kept already, or served. */
import { fetchRequired, type Conversation } from './conversation.ts';
import type { Targets } from './metadata.ts';
import type { MetadataStore, TargetsRole } from './store.ts';
import type { Trusted } from './trust.ts';

/** The field's limits; a signed length that is smaller goes before them. */
const MAX_BYTES = { director: 64 * 1024, image: 8 * 1024 * 1024 } as const;

/**
 * Believes a Targets file and keeps it, in this order: nothing is kept that `read` refuses.
 *
 * @param file - the name the repository serves it under
 * @param read - further checks on what the file says
 * @throws OtaError METADATA_MISSING, METADATA_TOO_LARGE, those of `addTargets`, those of `read`
 */
export function* updateTargets<T>(
  store: MetadataStore,
  file: string,
  wanted: TargetsRole,
  read: (targets: Trusted<Targets>) => T,
): Conversation<T> {
  const { repo } = store;
  const { role, listed } = wanted;
  const kept = store.keptTargets(wanted);
  if (kept !== undefined) return read(kept);
  const maxBytes = Math.min(listed?.lengthBytes ?? Infinity, MAX_BYTES[repo]);
  const bytes = yield* fetchRequired(repo, file, maxBytes);
  const isKept = store.isKept(role, bytes);
  const result = read(store.addTargets(bytes, wanted));
  if (!isKept) yield { need: 'keep', repo, role, bytes };
  return result;
}
