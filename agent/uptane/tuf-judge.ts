/**
 * tuf-js as second judge of TUF metadata: what is believed, two implementations have accepted.
 *
 * It may only refuse, and is asked after every check of ours passed. It cannot be the only judge: it
 * counts signatures by key id, lets a kept role be verified by the wrong delegator's keys, reads the
 * clock itself and takes names given twice. Nor can it judge everything; where it is known to be wrong
 * or without bounds it is not asked, see `canJudge`.
 *
 * Imports a file that tuf-js does not export: its metadata store, which does no I/O. Hence the exact
 * version in package.json; `tuf-judge.test.ts` fails if that file moves.
 */
import { TrustedMetadataStore } from 'tuf-js/dist/store.js';

import { malformed } from '../decode.ts';
import { causeOf, type Repo } from '../errors.ts';
import type { Delegation } from './delegation.ts';
import type { Judge } from './format.ts';
import type { Authority } from './keys.ts';
import type { Common, File, Root, Snapshot, Targets, Timestamp } from './metadata.ts';
import { roleOf } from './names.ts';
import type { Instant } from './time.ts';
import { isPlainTuf } from './tuf-keys.ts';

/** tuf-js copies every object once per member: eight thousand targets cost it a minute. */
const MAX_BYTES = 32 * 1024;
/** First byte in UTF-8 of what is two units in UTF-16, by which tuf-js sorts. */
const BEYOND_BMP = 0xf0;
/** Such names come first in a JavaScript object, wherever they were signed. */
const INTEGER = /^(?:0|[1-9][0-9]*)$/;

export class TufJudge implements Judge {
  readonly #repo: Repo;
  /** `undefined` from the first file on that it could not judge: all others hang on that one. */
  #store: TrustedMetadataStore | undefined;

  /** @throws OtaError METADATA_MALFORMED if it refuses the root that trust starts from */
  constructor(repo: Repo, root: File<Root>, now: Instant) {
    this.#repo = repo;
    if (!canJudgeRoot(root)) return;
    this.#judge('root', () => {
      this.#store = new TrustedMetadataStore(Buffer.from(root.bytes));
    });
    // It takes the system's clock otherwise, which attested time exists to replace.
    if (this.#store !== undefined) Object.assign(this.#store, { referenceTime: new Date(now) });
  }

  addRoot(file: File<Root>): void {
    const store = this.#ask(canJudgeRoot(file));
    this.#judge('root', () => store?.updateRoot(Buffer.from(file.bytes)));
  }

  addTimestamp(file: File<Timestamp>, previous: File<Timestamp> | undefined): void {
    const store = this.#ask(canJudge(file));
    load(previous, (bytes) => store?.updateTimestamp(bytes));
    this.#judge('timestamp', () => store?.updateTimestamp(Buffer.from(file.bytes)));
  }

  addSnapshot(file: File<Snapshot>, previous: File<Snapshot> | undefined): void {
    const store = this.#ask(canJudge(file));
    load(previous, (bytes) => store?.updateSnapshot(bytes, true));
    this.#judge('snapshot', () => store?.updateSnapshot(Buffer.from(file.bytes)));
  }

  addTargets(file: File<Targets>, name: string, delegator: string): void {
    const { delegations } = file.body;
    const [store, bytes] = [this.#store, Buffer.from(file.bytes)];
    // Who has not judged the delegator cannot judge what it delegates to.
    if (store?.getRole(delegator) === undefined || !canJudge(file)) return;
    if (!delegations.every(canJudgeDelegation)) return;
    this.#judge(roleOf(name), () => {
      store.updateDelegatedTargets(bytes, name, delegator);
    });
  }

  #ask(able: boolean): TrustedMetadataStore | undefined {
    if (!able) this.#store = undefined;
    return this.#store;
  }

  #judge(role: string, act: () => void): void {
    try {
      act();
    } catch (cause) {
      throw malformed(`${this.#repo}/${role}`, `what tuf-js accepts, too: ${causeOf(cause)}`);
    }
  }
}

/** What was believed before: it may be outdated, and is remembered even then. */
function load(previous: File<Common> | undefined, add: (bytes: Buffer) => void): void {
  if (previous === undefined) return;
  try {
    add(Buffer.from(previous.bytes));
  } catch {
    // Expired, or no longer listed: it stays what the next one is compared with.
  }
}

function canJudge({ bytes }: File<Common>): boolean {
  return bytes.byteLength <= MAX_BYTES && bytes.every((byte) => byte < BEYOND_BMP);
}

/** It demands `consistent_snapshot`, which TUF has clients take as false where it is not given. */
function canJudgeRoot(file: File<Root>): boolean {
  const says = Buffer.from(file.bytes).includes('"consistent_snapshot"');
  return canJudge(file) && says && Object.values(file.body.roles).every(canJudgeKeys);
}

/** It knows nothing of roles that have to agree. */
function canJudgeDelegation({ roles, minRolesInAgreement }: Delegation): boolean {
  if (minRolesInAgreement !== undefined) return false;
  return roles.every(({ name, authority }) => !INTEGER.test(name) && canJudgeKeys(authority));
}

function canJudgeKeys({ keys }: Authority): boolean {
  return [...keys.values()].every(isPlainTuf);
}
