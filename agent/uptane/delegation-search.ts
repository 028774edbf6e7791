/**
 * In which order roles are asked about a file, and whose word counts.
 *
 * Pure of where roles come from: a search says which role it wants next and is handed its Targets.
 */
import { OtaError } from '../errors.ts';
import {
  applies,
  nameFor,
  type DelegatedRole,
  type Delegation,
  type Wanted,
} from './delegation.ts';
import type { Authority } from './keys.ts';
import { whatHasToMatch } from './match.ts';
import type { TargetFile } from './metadata.ts';

/** What a search reads of a Targets role. */
export interface Listed {
  readonly targets: { get(filename: string): TargetFile | undefined };
  readonly delegations: readonly Delegation[];
}

/** A role to be asked next, and the role above it whose keys count this time. */
export interface Visit {
  readonly name: string;
  readonly authority: Authority;
  readonly delegator: string;
}

/** Answered with the Targets of the role; whoever cannot have them throws, which ends the search. */
type Search<T> = Generator<Visit, T, Listed>;

/**
 * What a role and those below it say: the file; nothing; or nothing and that nobody later in the list
 * may say anything either.
 */
type Answer = TargetFile | 'silent' | 'closed';

/** More roles than this for one file are a loop or an attack on our time. */
const MAX_ROLES = 32;

/**
 * Searches in pre-order: a role before the roles it delegates to, those in the order they are listed,
 * and nothing after a terminating delegation that applies but its own subtree.
 *
 * The Standard gives up as soon as the terminating role itself lacks the file, TUF when its whole
 * subtree does. This follows TUF: a terminating role chose the roles below it.
 *
 * Source: Uptane Standard 2.1 §5.4.4.7; TUF specification §5.6.7; TAP 3.
 *
 * @param top - the top-level Targets
 * @throws OtaError TARGET_NOT_IN_IMAGE_REPO, ROLES_DISAGREE, DELEGATIONS_TOO_MANY
 */
export function* search(top: Listed, wanted: Wanted): Search<TargetFile> {
  return yield* new DelegationSearch(wanted).from(top);
}

class DelegationSearch {
  readonly #wanted: Wanted;
  /** Every role asked, in order. */
  readonly #asked = ['targets'];
  #disagreement: OtaError<'ROLES_DISAGREE'> | undefined;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
  }

  *from(top: Listed): Search<TargetFile> {
    const answer = yield* this.#askTree('targets', top, new Set());
    if (typeof answer === 'object') return answer;
    const { filename } = this.#wanted;
    throw (
      this.#disagreement ??
      new OtaError('TARGET_NOT_IN_IMAGE_REPO', { filename, searched: this.#asked.join(',') })
    );
  }

  /** @param visited - roles not to be asked again, so that roles which delegate to each other end */
  *#askTree(name: string, { targets, delegations }: Listed, visited: Set<string>): Search<Answer> {
    const found = targets.get(this.#wanted.filename);
    if (found !== undefined) return found;
    for (const delegation of delegations) {
      if (!applies(delegation, this.#wanted)) continue;
      const answer = yield* this.#askDelegation(name, delegation, visited);
      if (answer !== 'silent') return answer;
      if (delegation.terminating) return 'closed';
    }
    return 'silent';
  }

  *#askDelegation(
    delegator: string,
    { roles, minRolesInAgreement }: Delegation,
    visited: Set<string>,
  ): Search<Answer> {
    const answers: Answer[] = [];
    for (const role of roles) {
      // What roles that have to agree say may not depend on which of them was asked first.
      const own = minRolesInAgreement === undefined ? visited : new Set(visited);
      answers.push(yield* this.#askRole(delegator, role, own));
    }
    if (minRolesInAgreement === undefined) return answers[0] ?? 'silent';
    return this.#agreed(roles, answers, minRolesInAgreement);
  }

  *#askRole(delegator: string, role: DelegatedRole, visited: Set<string>): Search<Answer> {
    const { filename } = this.#wanted;
    const name = nameFor(role, this.#wanted);
    if (visited.has(name)) return 'silent';
    if (this.#asked.length > MAX_ROLES) {
      throw new OtaError('DELEGATIONS_TOO_MANY', { filename, maxRoles: MAX_ROLES });
    }
    visited.add(name);
    this.#asked.push(name);
    const listed = yield { name, authority: role.authority, delegator };
    return yield* this.#askTree(name, listed, visited);
  }

  /**
   * The file that enough roles say the same of; where there are several, that of the role listed
   * first. A terminating delegation below one of the roles ends what this role has to say, no more.
   *
   * Source: Uptane Standard 2.1 §5.4.4.7 step 5.
   */
  #agreed(roles: readonly DelegatedRole[], answers: readonly Answer[], needed: number): Answer {
    const files = answers.filter((answer) => typeof answer === 'object');
    const facts = files.map(whatHasToMatch);
    const counts = facts.map((fact) => facts.filter((other) => other === fact).length);
    const agreed = files.find((_, index) => (counts[index] ?? 0) >= needed);
    if (agreed !== undefined) return agreed;
    if (files.length > 0) {
      const names = roles.map((role) => nameFor(role, this.#wanted)).join(',');
      const counted = { agreeing: Math.max(...counts), needed };
      const { filename } = this.#wanted;
      this.#disagreement ??= new OtaError('ROLES_DISAGREE', { filename, roles: names, ...counted });
    }
    return 'silent';
  }
}
