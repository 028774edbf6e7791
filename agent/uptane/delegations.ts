/** Finds who in the Image repository may speak for a file, and what they say. */
import type { Conversation } from './conversation.ts';
import type { Wanted } from './delegation.ts';
import { search, type Visit } from './delegation-search.ts';
import type { Snapshot, TargetFile, Targets } from './metadata.ts';
import type { MetadataStore } from './store.ts';
import { updateTargets } from './targets.ts';
import { trust, type Trusted } from './trust.ts';

/** The Image repository's top level, as verified in this run. */
export interface ImageRepository {
  readonly store: MetadataStore;
  readonly snapshot: Trusted<Snapshot>;
  readonly targets: Trusted<Targets>;
}

/**
 * Searches the delegations, loading each role when it is its turn.
 *
 * A role that is missing or invalid ends the search, even if a later one has the file: who could
 * make a role unreadable would choose who speaks in its place.
 *
 * Source: Uptane Standard 2.1 §5.4.4.7; TUF specification §5.6.7.
 *
 * @throws OtaError SNAPSHOT_ROLE_MISSING, METADATA_MISSING, those of `search` and of `addTargets`
 */
export function* findTarget(
  repository: ImageRepository,
  wanted: Wanted,
): Conversation<Trusted<TargetFile>> {
  const searching = search(repository.targets, wanted);
  let turn = searching.next();
  while (turn.done !== true) turn = searching.next(yield* loadDelegated(repository, turn.value));
  return trust(turn.value);
}

/** One role of the tree, checked against the keys of whoever delegates to it this time. */
function* loadDelegated(
  { store, snapshot }: ImageRepository,
  { name, ...by }: Visit,
): Conversation<Trusted<Targets>> {
  const wanted = store.delegatedTargets(name, snapshot, by);
  return yield* updateTargets(store, wanted, (targets) => targets);
}
