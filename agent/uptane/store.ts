/**
 * What of one repository's metadata is trusted, and what may be added to it.
 *
 * This is the Uptane dialect; another format brings another class with these methods. A file is
 * added only after every check on it passed, expiry included: a file that was refused leaves no
 * trace, so a repository recovers from its own mistakes by publishing the next good version.
 */
import { OtaError, type Repo } from '../errors.ts';
import {
  listingOf,
  meetsThreshold,
  verifyFresh,
  verifyHashes,
  verifyListedVersion,
  verifyNotOlder,
  verifySnapshotGrows,
  verifyThreshold,
} from './checks.ts';
import { matchesHashes } from './canonical.ts';
import { KeptFiles } from './kept-files.ts';
import type { Authority } from './keys.ts';
import {
  parseRoot,
  parseSnapshot,
  parseTargets,
  parseTimestamp,
  type Common,
  type File,
  type Listing,
  type Root,
  type Snapshot,
  type Targets,
  type Timestamp,
} from './metadata.ts';
import { isExpired, type Instant } from './time.ts';
import { trust, type Trusted } from './trust.ts';

/** A role as believed in this run, for people who want to know what was seen. */
export interface RoleSeen {
  readonly repo: Repo;
  readonly role: string;
  readonly version: number;
  readonly expiresAt: Instant;
}

/** A Targets file and what its parents say about it. */
export interface TargetsRole {
  /** `targets` or `delegated/NAME`. */
  readonly role: string;
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
export function verifyFirstRoot(repo: Repo, bytes: Uint8Array): Trusted<Root> {
  const root = parseRoot(bytes, repo);
  verifyThreshold({ repo, role: 'root' }, root, root.body.roles.root);
  return trust(root.body);
}

export class MetadataStore {
  readonly repo: Repo;
  readonly #now: Instant;
  readonly #kept: KeptFiles;
  readonly #seen = new Map<string, RoleSeen>();
  #root: Trusted<Root>;
  #superseded = false;

  /**
   * @param trusted - everything kept before, by `REPO/ROLE`
   * @throws OtaError STORAGE_CORRUPT if there is no root, or one that was never trusted
   */
  constructor(repo: Repo, trusted: ReadonlyMap<string, Uint8Array>, now: Instant) {
    this.repo = repo;
    this.#now = now;
    this.#kept = new KeptFiles(repo, trusted);
    this.#root = this.#kept.require('root', (bytes) => verifyFirstRoot(repo, bytes));
  }

  get root(): Trusted<Root> {
    return this.#root;
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
    const next = parseRoot(bytes, this.repo);
    const subject = this.#subject('root');
    verifyThreshold(subject, next, this.#root.roles.root);
    verifyThreshold(subject, next, next.body.roles.root);
    const [expected, offered] = [this.#root.version + 1, next.body.version];
    if (offered !== expected) {
      throw new OtaError('ROOT_VERSION_MISMATCH', { repo: this.repo, expected, offered });
    }
    this.#root = trust(next.body);
    this.#kept.replace('root', next);
  }

  /**
   * Closes the chain of roots.
   *
   * Timestamp and Snapshot that the newest root's keys no longer vouch for stop counting, both if
   * either: whoever had the old keys may have signed version 2^53-1. The Targets versions seen stay
   * known. This follows from what is stored, not from having watched the rotation, so a power cut
   * in the middle of it changes nothing. The old Timestamp stays on disk, unused, until the next
   * one replaces it: it is the memory that this repository serves one.
   *
   * Source: Uptane Standard 2.1 §5.4.4.3 steps 3 and 4.
   *
   * @returns whether there is a Snapshot to forget
   * @throws OtaError METADATA_EXPIRED
   */
  settleRoot(): boolean {
    verifyFresh(this.#subject('root'), this.#root, this.#now);
    this.#note('root', this.#root);
    const { roles } = this.#root;
    const timestamp = this.#previousTimestamp();
    const snapshot = this.#previousSnapshot();
    this.#superseded =
      (timestamp !== undefined && !meetsThreshold(timestamp, roles.timestamp)) ||
      (snapshot !== undefined && !meetsThreshold(snapshot, roles.snapshot));
    return this.#superseded && this.#kept.forget('snapshot');
  }

  /**
   * The Snapshot's version is looked at here already (TUF specification §5.4.3.2), or a Timestamp
   * that rolls it back would be kept.
   *
   * Source: Uptane Standard 2.1 §5.4.4.4 steps 2 to 4.
   *
   * @throws OtaError THRESHOLD_NOT_MET, VERSION_ROLLBACK, METADATA_EXPIRED and those of the parser
   */
  addTimestamp(bytes: Uint8Array): Trusted<Timestamp> {
    const subject = this.#subject('timestamp');
    const file = parseTimestamp(bytes, this.repo);
    verifyThreshold(subject, file, this.#root.roles.timestamp);
    verifyNotOlder(subject, this.#previousTimestamp()?.body, file.body.version);
    const snapshot = this.#previousSnapshot()?.body;
    verifyNotOlder(this.#subject('snapshot'), snapshot, file.body.snapshot.version);
    verifyFresh(subject, file.body, this.#now);
    return this.#accept('timestamp', file);
  }

  /** The Snapshot kept before, if it is the one that the Timestamp lists (§5.4.4.5, §5.4.4.2). */
  keptSnapshot(listed: Listing): Trusted<Snapshot> | undefined {
    const file = this.#previousSnapshot();
    if (file === undefined || !this.#isCurrent(file, this.#root.roles.snapshot, listed)) {
      return undefined;
    }
    return this.#accept('snapshot', file);
  }

  /**
   * Source: Uptane Standard 2.1 §5.4.4.5 steps 2 to 7.
   *
   * @throws OtaError METADATA_HASH_MISMATCH, THRESHOLD_NOT_MET, VERSION_ROLLBACK,
   * METADATA_VERSION_MISMATCH, SNAPSHOT_ROLE_REMOVED, METADATA_EXPIRED and those of the parser
   */
  addSnapshot(bytes: Uint8Array, listed: Listing): Trusted<Snapshot> {
    const subject = this.#subject('snapshot');
    const file = parseSnapshot(bytes, this.repo);
    verifyHashes(subject, file, listed, 'timestamp');
    verifyThreshold(subject, file, this.#root.roles.snapshot);
    const previous = this.#previousSnapshot()?.body;
    verifyNotOlder(subject, previous, file.body.version);
    verifyListedVersion(subject, file, listed);
    if (previous !== undefined) verifySnapshotGrows(this.repo, previous, file.body);
    verifyFresh(subject, file.body, this.#now);
    return this.#accept('snapshot', file);
  }

  /** @throws OtaError SNAPSHOT_ROLE_MISSING */
  listingOf(role: string, snapshot: Trusted<Snapshot>): Listing {
    return listingOf(this.#subject(role), snapshot);
  }

  /** A Targets file kept before, if it is the one that its parents want today. */
  keptTargets({ role, authority, listed }: TargetsRole): Trusted<Targets> | undefined {
    const file = this.#previousTargets(role);
    if (file === undefined || listed === undefined || !this.#isCurrent(file, authority, listed)) {
      return undefined;
    }
    return this.#accept(role, file);
  }

  /**
   * Rollback comes before the listed version, so that the failure names the graver attack.
   *
   * Source: Uptane Standard 2.1 §5.4.4.6 steps 2 to 5.
   *
   * @throws OtaError METADATA_HASH_MISMATCH, THRESHOLD_NOT_MET, VERSION_ROLLBACK,
   * METADATA_VERSION_MISMATCH, METADATA_EXPIRED and those of the parser
   */
  addTargets(bytes: Uint8Array, { role, authority, listed }: TargetsRole): Trusted<Targets> {
    const subject = this.#subject(role);
    const file = parseTargets(bytes, this.repo, role);
    if (listed !== undefined) verifyHashes(subject, file, listed, 'snapshot');
    verifyThreshold(subject, file, authority);
    verifyNotOlder(subject, this.#previousTargets(role)?.body, file.body.version);
    if (listed !== undefined) verifyListedVersion(subject, file, listed);
    verifyFresh(subject, file.body, this.#now);
    return this.#accept(role, file);
  }

  #isCurrent(file: File<Common>, authority: Authority, listed: Listing): boolean {
    return (
      file.body.version === listed.version &&
      !isExpired(file.body.expiresAt, this.#now) &&
      matchesHashes(listed.hashes, file.bytes, file.document) &&
      meetsThreshold(file, authority)
    );
  }

  #accept<Body extends Common>(role: string, file: File<Body>): Trusted<Body> {
    this.#kept.replace(role, file);
    this.#note(role, file.body);
    return trust(file.body);
  }

  #note(role: string, { version, expiresAt }: Common): void {
    this.#seen.set(role, { repo: this.repo, role, version, expiresAt });
  }

  #previousTimestamp(): File<Timestamp> | undefined {
    if (this.#superseded) return undefined;
    return this.#kept.read('timestamp', (bytes) => parseTimestamp(bytes, this.repo));
  }

  #previousSnapshot(): File<Snapshot> | undefined {
    return this.#kept.read('snapshot', (bytes) => parseSnapshot(bytes, this.repo));
  }

  #previousTargets(role: string): File<Targets> | undefined {
    return this.#kept.read(role, (bytes) => parseTargets(bytes, this.repo, role));
  }

  #subject(role: string): { repo: Repo; role: string } {
    return { repo: this.repo, role };
  }
}
