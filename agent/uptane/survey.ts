/** Reads all of an Image repository, as somebody who runs it wants to know it: every delegated role. */
import { isOtaError, type AnyOtaError } from '../errors.ts';
import type { Conversation } from './conversation.ts';
import { namesOf, type Delegation } from './delegation.ts';
import type { ImageRepository } from './delegations.ts';
import type { Authority } from './keys.ts';
import type { Targets } from './metadata.ts';
import type { MetadataStore } from './store.ts';
import { updateTargets } from './targets.ts';
import type { Trusted } from './trust.ts';
import { updateImage } from './verify.ts';

/** A bound against roles that delegate to each other without end. */
const MAX_ROLES = 1000;

/**
 * Verifies the top level and then every role that is delegated to, whether or not an image is in it.
 *
 * A device reads a delegated role when it needs an image from it: one that fails here fails a device
 * on another day. So a failure ends its own role and not the others.
 *
 * @returns what failed; `store.watch` is told what did not
 */
export function* surveyImage(store: MetadataStore): Conversation<readonly AnyOtaError[]> {
  const problems: AnyOtaError[] = [];
  const repository = yield* collecting(problems, updateImage(store));
  if (repository === undefined) return problems;
  const visited = new Set<string>();
  const waiting: [name: string, targets: Targets][] = [['targets', repository.targets]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [delegator, { delegations }] = next;
    for (const { name, authority } of delegatedRoles(delegations)) {
      if (visited.size >= MAX_ROLES) break;
      const visit = JSON.stringify([delegator, name]);
      if (visited.has(visit)) continue;
      visited.add(visit);
      const role = readRole(repository, name, { delegator, authority });
      const targets = yield* collecting(problems, role);
      if (targets !== undefined) waiting.push([name, targets]);
    }
  }
  return problems;
}

function* delegatedRoles(
  delegations: readonly Delegation[],
): Generator<{ readonly name: string; readonly authority: Authority }> {
  for (const { roles } of delegations) {
    for (const role of roles) {
      for (const name of namesOf(role)) yield { name, authority: role.authority };
    }
  }
}

function* readRole(
  { store, snapshot }: ImageRepository,
  name: string,
  by: Parameters<MetadataStore['delegatedTargets']>[2],
): Conversation<Trusted<Targets>> {
  return yield* updateTargets(store, store.delegatedTargets(name, snapshot, by), (read) => read);
}

function* collecting<T>(
  problems: AnyOtaError[],
  talk: Conversation<T>,
): Conversation<T | undefined> {
  try {
    return yield* talk;
  } catch (error) {
    if (!isOtaError(error) || error.handling.exit !== 20) throw error;
    problems.push(error);
    return undefined;
  }
}
