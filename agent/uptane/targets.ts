/** Gets one Targets file, top-level or delegated, from where it is: kept already, or served. */
import { fetchRequired, type Conversation } from './conversation.ts';
import type { Targets } from './metadata.ts';
import type { MetadataStore, TargetsRole } from './store.ts';
import type { Trusted } from './trust.ts';

/**
 * Believes a Targets file and keeps it, in this order: nothing is kept that `read` refuses.
 *
 * @param read - further checks on what the file says
 * @throws OtaError METADATA_MISSING, METADATA_TOO_LARGE, those of `addTargets`, those of `read`
 */
export function* updateTargets<T>(
  store: MetadataStore,
  wanted: TargetsRole,
  read: (targets: Trusted<Targets>) => T,
): Conversation<T> {
  const { repo, format } = store;
  const { role, name, listed } = wanted;
  const kept = store.keptTargets(wanted);
  if (kept !== undefined) return read(kept);
  const maxBytes = Math.min(listed?.lengthBytes ?? Infinity, format.maxBytes.targets[repo]);
  const file = format.targetsFile(store.root, name, listed);
  const bytes = yield* fetchRequired(repo, file, maxBytes);
  const isKept = store.isKept(role, bytes);
  const result = read(store.addTargets(bytes, wanted));
  if (!isKept) yield { need: 'keep', repo, role, bytes };
  return result;
}
