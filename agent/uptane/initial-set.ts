/** The set of metadata that a device leaves the factory with, verified before it becomes its memory. */
import { OtaError, type Repo } from '../errors.ts';
import type { Conversation, Need } from './conversation.ts';
import type { Format } from './format.ts';
import type { RoleSeen } from './observer.ts';
import { updateRoot } from './root.ts';
import { updateSnapshot, updateSnapshotIfServed } from './snapshot.ts';
import { MetadataStore, verifyFirstRoot } from './store.ts';
import { updateTargets } from './targets.ts';
import type { Instant } from './time.ts';
import { versionOnly } from './verify.ts';

const LISTED_FILE = /^(?:\d+\.)?(?<role>timestamp|snapshot|targets)\.json$/u;

/**
 * Checks all of a set but its dates.
 *
 * It is there for its versions, below which nothing is believed afterwards. It lies in a factory or on
 * a shelf for longer than a Timestamp lives; an expired one is as good a floor, and no image is
 * installed from it.
 *
 * Source: Uptane Standard 2.1 §5.4.1 (a complete set from both repositories), §5.4.4.3 to §5.4.4.6.
 *
 * @param set - by role: `root`, `timestamp`, `snapshot`, `targets`; a Director may serve neither
 * Timestamp nor Snapshot, an Image repository has to have all
 * @throws OtaError METADATA_MISSING and those of the checks, DIRECTOR_DELEGATES among them
 */
export function verifyInitialSet(
  repo: Repo,
  set: ReadonlyMap<string, Uint8Array>,
  format: Format,
): readonly RoleSeen[] {
  const root = set.get('root');
  if (root === undefined) throw new OtaError('METADATA_MISSING', { repo, file: 'root.json' });
  verifyFirstRoot(repo, root, format);
  const store = new MetadataStore(repo, new Map([[`${repo}/root`, root]]), BEFORE_ANY_END, format);
  const talk = readSet(store);
  let turn = talk.next();
  while (turn.done !== true) turn = talk.next(answer(turn.value, set));
  return store.seen;
}

/** The epoch: earlier than any date that metadata can end at. */
const BEFORE_ANY_END = 0 as Instant;

function* readSet(store: MetadataStore): Conversation<void> {
  yield* updateRoot(store);
  const isDirector = store.repo === 'director';
  const snapshot = yield* (isDirector ? updateSnapshotIfServed : updateSnapshot)(store);
  const wanted = store.topLevelTargets(snapshot);
  const listed = isDirector ? wanted.listed && versionOnly(wanted.listed) : wanted.listed;
  yield* updateTargets(store, { ...wanted, listed }, ({ delegations }) => {
    if (!isDirector || delegations.length === 0) return;
    throw new OtaError('DIRECTOR_DELEGATES', { delegations: delegations.length });
  });
}

/** The root of a set is its last one: there is no next to ask for. */
function answer(need: Need, set: ReadonlyMap<string, Uint8Array>): Uint8Array | undefined {
  if (need.need === 'keep') return undefined;
  const role = LISTED_FILE.exec(need.file)?.groups?.['role'];
  return role === undefined ? undefined : set.get(role);
}
