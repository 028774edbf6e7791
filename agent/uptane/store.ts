/**
 * What of one repository's metadata is trusted, and what may be added to it.
 *
 * One state machine for every format; what differs between formats is in `format.ts`. A file is added
 * only after every check on it passed, expiry included: a file that was refused leaves no trace, so a
 * repository recovers from its own mistakes by publishing the next good version.
 */
import { OtaError, type Repo } from '../errors.ts';
import { hasLength, listingOf, signersOf, verifyThreshold, type Subject } from './checks.ts';
import { UPTANE, type Format, type Judge } from './format.ts';
import { KeptFiles } from './kept-files.ts';
import type { Authority } from './keys.ts';
import type { Common, File, Listing, Root, Snapshot, Targets, Timestamp } from './metadata.ts';
import { roleOf } from './names.ts';
import type { Observer, RoleSeen, Signers } from './observer.ts';
import { countingAfterForgetting, countingBesideRemnants, type Kept } from './rotation.ts';
import { isExpired, type Instant } from './time.ts';
import { trust, type Trusted } from './trust.ts';
import { tellPassed, watchChecks } from './watched-checks.ts';

/** A Targets file and what its parents say about it. */
export interface TargetsRole {
  /** `targets` or `delegated/NAME`: what it is kept and reported under. */
  readonly role: string;
  /** As the roles above it spell it. */
  readonly name: string;
  /** The role above it that this time says who may sign: `root`, or the name of a Targets role. */
  readonly delegator: string;
  readonly authority: Authority;
  /** `undefined` where no Snapshot is served. */
  readonly listed: Listing | undefined;
}

/**
 * Accepts the root metadata that trust starts from: pinned, or served on first contact.
 *
 * It has to be signed by its own keys, which says nothing about who made it, but shows that it is
 * whole and that a chain can go on from it.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3 step 1.
 *
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH, THRESHOLD_NOT_MET
 */
export function verifyFirstRoot(
  repo: Repo,
  bytes: Uint8Array,
  format: Format = UPTANE,
): Trusted<Root> {
  return trust(readFirstRoot(repo, bytes, format).root.body);
}

function readFirstRoot(
  repo: Repo,
  bytes: Uint8Array,
  format: Format,
): { root: File<Root>; signers: Signers } {
  const root = format.parseRoot(bytes, repo);
  return { root, signers: verifyThreshold({ repo, role: 'root' }, root, root.body.roles.root) };
}

export class MetadataStore {
  readonly repo: Repo;
  readonly format: Format;
  readonly #now: Instant;
  readonly #kept: KeptFiles;
  readonly #seen = new Map<string, RoleSeen>();
  readonly #judge: Judge | undefined;
  #root: Trusted<Root>;
  #rootSigners: Signers;
  #observer: Observer | undefined;
  #checks = watchChecks(undefined);
  /** What the newest root leaves of Timestamp and Snapshot; known when the chain of roots is closed. */
  #counting: Kept | undefined;

  /**
   * @param trusted - everything kept before, by `REPO/ROLE`
   * @throws OtaError STORAGE_CORRUPT if there is no root, or one that was never trusted
   * @throws OtaError METADATA_MALFORMED if the format's judge refuses it
   */
  constructor(
    repo: Repo,
    trusted: ReadonlyMap<string, Uint8Array>,
    now: Instant,
    format: Format = UPTANE,
  ) {
    this.repo = repo;
    this.format = format;
    this.#now = now;
    this.#kept = new KeptFiles(repo, trusted);
    const first = this.#kept.require('root', (bytes) => readFirstRoot(repo, bytes, format));
    const { root } = first;
    this.#root = trust(root.body);
    this.#rootSigners = first.signers;
    this.#judge = format.openJudge?.(repo, root, now);
  }

  get root(): Trusted<Root> {
    return this.#root;
  }

  /** From now on an observer is told what held and what is believed. */
  watch(observer: Observer | undefined): this {
    this.#observer = observer;
    this.#checks = watchChecks(observer);
    return this;
  }

  /** Every role believed in this run. */
  get seen(): readonly RoleSeen[] {
    return [...this.#seen.values()];
  }

  /** Was this role ever kept, whether or not it is still good? */
  has(role: string): boolean {
    return this.#kept.has(role);
  }

  /** Are these the bytes that are kept already? */
  isKept(role: string, bytes: Uint8Array): boolean {
    return this.#kept.holds(role, bytes);
  }

  /**
   * Takes the next root. Its expiry does not matter yet: only that of the last one does.
   *
   * Source: Uptane Standard 2.1 §5.4.4.3 steps 2.3 to 2.5.
   *
   * @throws OtaError THRESHOLD_NOT_MET, ROOT_VERSION_MISMATCH, METADATA_MALFORMED, ROLE_TYPE_MISMATCH
   */
  addRoot(bytes: Uint8Array): void {
    const next = this.format.parseRoot(bytes, this.repo);
    const subject = this.#subject('root');
    this.#checks.verifyThreshold(subject, next, this.#root.roles.root);
    const signers = this.#checks.verifyThreshold(subject, next, next.body.roles.root);
    const [expected, offered] = [this.#root.version + 1, next.body.version];
    if (offered !== expected) {
      throw new OtaError('ROOT_VERSION_MISMATCH', { repo: this.repo, expected, offered });
    }
    tellPassed(this.#observer, subject, 'next-version', { expected, offered });
    this.#judge?.addRoot(next);
    this.#root = trust(next.body);
    this.#rootSigners = signers;
    this.#kept.replace('root', next);
  }

  /**
   * Closes the chain of roots: Timestamp and Snapshot that a rotation outdated stop counting.
   *
   * The old Timestamp stays on disk, unused, until the next one replaces it: it is the memory that
   * this repository serves one. The Targets versions seen stay known, too.
   *
   * Source: Uptane Standard 2.1 §5.4.4.3 steps 3 and 4.
   *
   * @returns whether there is a Snapshot to forget
   * @throws OtaError METADATA_EXPIRED
   */
  settleRoot(): boolean {
    this.#checks.verifyFresh(this.#subject('root'), this.#root, this.#now);
    this.#note('root', this.#root, this.#rootSigners);
    const { repo, format } = this;
    const kept = {
      timestamp: this.#kept.read('timestamp', (bytes) => format.parseTimestamp(bytes, repo)),
      snapshot: this.#kept.read('snapshot', (bytes) => format.parseSnapshot(bytes, repo)),
    };
    const forget = format.rules.outdated === 'forget';
    const counting = forget ? countingAfterForgetting : countingBesideRemnants;
    this.#counting = counting(kept, this.#root);
    return forget && this.#counting.snapshot !== kept.snapshot && this.#kept.forget('snapshot');
  }

  /**
   * The Snapshot's version is looked at here already (TUF specification §5.4.3.2), or a Timestamp
   * that rolls it back would be kept.
   *
   * Source: Uptane Standard 2.1 §5.4.4.4 steps 2 to 4.
   *
   * @returns the one that counts now: the kept one, where TUF has a second one of its version discarded
   * @throws OtaError THRESHOLD_NOT_MET, VERSION_ROLLBACK, METADATA_EXPIRED and those of the parser
   */
  addTimestamp(bytes: Uint8Array): Trusted<Timestamp> {
    const subject = this.#subject('timestamp');
    const { rules } = this.format;
    const file = this.format.parseTimestamp(bytes, this.repo);
    const authority = this.#root.roles.timestamp;
    const signers = this.#checks.verifyThreshold(subject, file, authority);
    const { timestamp: previous, snapshot } = this.#outlasting;
    this.#checks.verifyNotOlder(subject, previous?.body, file.body.version);
    if (rules.sameTimestamp === 'discard' && previous?.body.version === file.body.version) {
      return this.#acceptTimestamp(previous, undefined, signersOf(previous, authority));
    }
    const offered = file.body.snapshot.version;
    this.#checks.verifyNotOlder(this.#subject('snapshot'), snapshot?.body, offered);
    if (rules.listedSnapshot === 'binds') {
      this.#checks.verifyNotOlder(this.#subject('snapshot'), previous?.body.snapshot, offered);
    }
    return this.#acceptTimestamp(file, previous, signers);
  }

  #acceptTimestamp(
    file: File<Timestamp>,
    previous: File<Timestamp> | undefined,
    signers: Signers,
  ): Trusted<Timestamp> {
    this.#checks.verifyFresh(this.#subject('timestamp'), file.body, this.#now);
    this.#judge?.addTimestamp(file, previous);
    return this.#accept('timestamp', file, signers);
  }

  /** The Snapshot kept before, if it is the one that the Timestamp lists (§5.4.4.5, §5.4.4.2). */
  keptSnapshot(listed: Listing): Trusted<Snapshot> | undefined {
    const file = this.#outlasting.snapshot;
    const signers = file && this.#signersIfCurrent(file, this.#root.roles.snapshot, listed);
    if (file === undefined || signers === undefined) return undefined;
    this.#judge?.addSnapshot(file, undefined);
    tellPassed(this.#observer, this.#subject('snapshot'), 'still-current', { ...signers });
    return this.#accept('snapshot', file, signers);
  }

  /**
   * Source: Uptane Standard 2.1 §5.4.4.5 steps 2 to 7.
   *
   * @param listed - absent on a medium, which has no Timestamp: then it is no older than any that one
   *   has listed, and may have expired (PURE-2)
   * @throws OtaError METADATA_HASH_MISMATCH, METADATA_LENGTH_MISMATCH, THRESHOLD_NOT_MET,
   * VERSION_ROLLBACK, METADATA_VERSION_MISMATCH, SNAPSHOT_ROLE_REMOVED, METADATA_EXPIRED and those
   * of the parser
   */
  addSnapshot(bytes: Uint8Array, listed?: Listing): Trusted<Snapshot> {
    const subject = this.#subject('snapshot');
    const file = this.format.parseSnapshot(bytes, this.repo);
    if (listed !== undefined) this.#verifyListed(subject, file, listed, 'timestamp');
    const signers = this.#checks.verifyThreshold(subject, file, this.#root.roles.snapshot);
    const { snapshot: previous, timestamp } = this.#outlasting;
    this.#checks.verifyNotOlder(subject, previous?.body, file.body.version);
    if (listed !== undefined) this.#checks.verifyListedVersion(subject, file, listed);
    else this.#checks.verifyNotOlder(subject, timestamp?.body.snapshot, file.body.version);
    if (previous !== undefined)
      this.#checks.verifySnapshotGrows(this.repo, previous.body, file.body);
    if (listed !== undefined) this.#checks.verifyFresh(subject, file.body, this.#now);
    this.#judge?.addSnapshot(file, previous);
    return this.#accept('snapshot', file, signers);
  }

  /**
   * The top-level Targets role.
   *
   * @param snapshot - `undefined` where none is served
   * @throws OtaError SNAPSHOT_ROLE_MISSING
   */
  topLevelTargets(snapshot: Trusted<Snapshot> | undefined): TargetsRole {
    const name = 'targets';
    const listed = snapshot && listingOf(this.repo, name, snapshot);
    return { role: name, name, delegator: 'root', authority: this.#root.roles.targets, listed };
  }

  /** @throws OtaError SNAPSHOT_ROLE_MISSING */
  delegatedTargets(
    name: string,
    snapshot: Trusted<Snapshot>,
    by: Pick<TargetsRole, 'delegator' | 'authority'>,
  ): TargetsRole {
    return { role: roleOf(name), name, ...by, listed: listingOf(this.repo, name, snapshot) };
  }

  /** A Targets file kept before, if it is the one that its parents want today. */
  keptTargets({ role, authority, listed, ...by }: TargetsRole): Trusted<Targets> | undefined {
    const file = this.#previousTargets(role);
    if (file === undefined || listed === undefined) return undefined;
    const signers = this.#signersIfCurrent(file, authority, listed);
    if (signers === undefined) return undefined;
    this.#judge?.addTargets(file, by.name, by.delegator);
    tellPassed(this.#observer, this.#subject(role), 'still-current', { ...signers });
    return this.#accept(role, file, signers);
  }

  /**
   * Rollback comes before the listed version, so that the failure names the graver attack.
   *
   * Source: Uptane Standard 2.1 §5.4.4.6 steps 2 to 5.
   *
   * @throws OtaError METADATA_HASH_MISMATCH, METADATA_LENGTH_MISMATCH, THRESHOLD_NOT_MET,
   * VERSION_ROLLBACK, METADATA_VERSION_MISMATCH, METADATA_EXPIRED and those of the parser
   */
  addTargets(bytes: Uint8Array, { role, authority, listed, ...by }: TargetsRole): Trusted<Targets> {
    const subject = this.#subject(role);
    const file = this.format.parseTargets(bytes, this.repo, role);
    if (listed !== undefined) this.#verifyListed(subject, file, listed, 'snapshot');
    const signers = this.#checks.verifyThreshold(subject, file, authority);
    if (this.format.rules.targetsVersion === 'never-lower') {
      this.#checks.verifyNotOlder(subject, this.#previousTargets(role)?.body, file.body.version);
    }
    if (listed !== undefined) this.#checks.verifyListedVersion(subject, file, listed);
    this.#checks.verifyFresh(subject, file.body, this.#now);
    this.#judge?.addTargets(file, by.name, by.delegator);
    return this.#accept(role, file, signers);
  }

  #verifyListed(subject: Subject, file: File<Common>, listed: Listing, listedIn: string): void {
    if (this.#lengthBinds) this.#checks.verifyLength(subject, file, listed, listedIn);
    this.#checks.verifyHashes(subject, file, listed, listedIn);
  }

  get #lengthBinds(): boolean {
    return this.format.rules.listedLength === 'exact';
  }

  #signersIfCurrent(
    file: File<Common>,
    authority: Authority,
    listed: Listing,
  ): Signers | undefined {
    const isCurrent =
      file.body.version === listed.version &&
      (!this.#lengthBinds || hasLength(file, listed)) &&
      !isExpired(file.body.expiresAt, this.#now) &&
      file.hasHashes(listed.hashes);
    if (!isCurrent) return undefined;
    const signers = signersOf(file, authority);
    return signers.valid < signers.threshold ? undefined : signers;
  }

  #accept<Body extends Common>(role: string, file: File<Body>, signers: Signers): Trusted<Body> {
    this.#kept.replace(role, file);
    this.#note(role, file.body, signers);
    return trust(file.body);
  }

  #note(role: string, { version, expiresAt }: Common, signers: Signers): void {
    const seen = { repo: this.repo, role, version, expiresAt, signers };
    this.#seen.set(role, seen);
    this.#observer?.accepted(seen);
  }

  /** Timestamp and Snapshot from before this run that the newest root leaves counting. */
  get #outlasting(): Kept {
    if (this.#counting === undefined) throw new OtaError('BUG', { what: 'roots are not settled' });
    return this.#counting;
  }

  #previousTargets(role: string): File<Targets> | undefined {
    return this.#kept.read(role, (bytes) => this.format.parseTargets(bytes, this.repo, role));
  }

  #subject(role: string): Subject {
    return { repo: this.repo, role };
  }
}
