/** Finds who in the Image repository may speak for a file, and what they say. */
import { OtaError } from '../errors.ts';
import { digest } from './canonical.ts';
import type { Conversation } from './conversation.ts';
import { matchesPath } from './glob.ts';
import type { Delegation, Snapshot, TargetFile, Targets } from './metadata.ts';
import type { MetadataStore } from './store.ts';
import { updateTargets } from './targets.ts';
import { trust, type Trusted } from './trust.ts';

/** The Image repository's top level, as verified in this run. */
export interface ImageRepository {
  readonly store: MetadataStore;
  readonly snapshot: Trusted<Snapshot>;
  readonly targets: Trusted<Targets>;
}

export interface Wanted {
  readonly filename: string;
  /** `undefined` outside of Uptane: a plain TUF client has no hardware. */
  readonly hardwareId: string | undefined;
}

/** A delegation, and the role that makes it. */
interface Visit extends Delegation {
  readonly delegator: string;
}

/** More roles than this for one file are a loop or an attack on our time. */
const MAX_ROLES = 32;

/**
 * Searches the delegations in pre-order: a role before the roles it delegates to, those in the order
 * they are listed, and nothing after a terminating delegation that applies but its own subtree.
 *
 * The Standard gives up as soon as the terminating role itself lacks the file, TUF when its whole
 * subtree does. This follows TUF: a terminating role chose the roles below it. Every role is visited
 * once, so that roles which delegate to each other end the search.
 *
 * Source: Uptane Standard 2.1 §5.4.4.7; TUF specification §5.6.7.
 *
 * @throws OtaError TARGET_NOT_IN_IMAGE_REPO, SNAPSHOT_ROLE_MISSING, METADATA_MISSING and those of
 * `addTargets`
 */
export function* findTarget(
  repository: ImageRepository,
  wanted: Wanted,
): Conversation<Trusted<TargetFile>> {
  const visited = new Set<string>();
  const searched: string[] = ['targets'];
  let targets = repository.targets;
  let delegator = 'targets';
  let toVisit: readonly Visit[] = [];
  for (;;) {
    const found = targets.targets.get(wanted.filename);
    if (found !== undefined) return trust(found);
    const delegations = targets.delegations.map((found) => ({ ...found, delegator }));
    toVisit = [...next(delegations, wanted, toVisit)].filter(({ name }) => !visited.has(name));
    const [delegation, ...rest] = toVisit;
    if (delegation === undefined) throw notFound(wanted, searched.join(','));
    if (searched.length > MAX_ROLES)
      throw notFound(wanted, `${String(MAX_ROLES)} roles, the limit`);
    toVisit = rest;
    visited.add(delegation.name);
    searched.push(delegation.name);
    targets = yield* loadDelegated(repository, delegation);
    delegator = delegation.name;
  }
}

/** What to visit after a role, given what was waiting before it. */
function next(
  delegations: readonly Visit[],
  wanted: Wanted,
  waiting: readonly Visit[],
): readonly Visit[] {
  const applying = delegations.filter((delegation) => applies(delegation, wanted));
  const last = applying.findIndex(({ terminating }) => terminating);
  return last === -1 ? [...applying, ...waiting] : applying.slice(0, last + 1);
}

function applies(delegation: Delegation, { filename, hardwareId }: Wanted): boolean {
  const { hardwareIds, paths, pathHashPrefixes } = delegation;
  // An image wanted for no hardware in particular is only looked for where none is demanded.
  if (hardwareIds !== undefined && (hardwareId === undefined || !hardwareIds.includes(hardwareId)))
    return false;
  if (paths.some((pattern) => matchesPath(pattern, filename))) return true;
  if (pathHashPrefixes.length === 0) return false;
  const pathHash = digest('sha256', Buffer.from(filename));
  return pathHashPrefixes.some((prefix) => pathHash.startsWith(prefix));
}

/** One role of the tree, checked against the keys of whoever delegates to it this time. */
function* loadDelegated(
  { store, snapshot }: ImageRepository,
  { name, ...by }: Visit,
): Conversation<Trusted<Targets>> {
  const wanted = store.delegatedTargets(name, snapshot, by);
  return yield* updateTargets(store, wanted, (targets) => targets);
}

function notFound({ filename }: Wanted, searched: string): OtaError<'TARGET_NOT_IN_IMAGE_REPO'> {
  return new OtaError('TARGET_NOT_IN_IMAGE_REPO', { filename, searched });
}
