/**
 * The checks that every metadata file gets, one rule each.
 *
 * They return nothing or throw, and know nothing of where files come from or go to.
 */
import { OtaError, type Repo } from '../errors.ts';
import type { Authority } from './keys.ts';
import type { Common, File, Listing, Snapshot } from './metadata.ts';
import { roleOf } from './names.ts';
import type { Signers } from './observer.ts';
import { formatInstant, isExpired, type Instant } from './time.ts';

/** Which file a check is about. */
export interface Subject {
  readonly repo: Repo;
  /** `root`, `timestamp`, `snapshot`, `targets` or `delegated/NAME`. */
  readonly role: string;
}

/**
 * Arbitrary software: enough different keys have to have signed.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3 step 2.3, §5.4.4.4 step 2, §5.4.4.5 and §5.4.4.6 step 3.
 *
 * @throws OtaError THRESHOLD_NOT_MET
 */
export function verifyThreshold(
  subject: Subject,
  file: File<Common>,
  authority: Authority,
): Signers {
  const signers = signersOf(file, authority);
  const { valid, threshold } = signers;
  if (valid < threshold) throw new OtaError('THRESHOLD_NOT_MET', { ...subject, valid, threshold });
  return signers;
}

/** Who signed, of those who may; whether that is enough is for the caller to say. */
export function signersOf(file: File<Common>, authority: Authority): Signers {
  const valid = file.countSigners(authority);
  return { valid, threshold: authority.threshold, keys: authority.keys.size };
}

/** The same question, asked of a file that may rightly have lost its signers. */
export function meetsThreshold(file: File<Common>, authority: Authority): boolean {
  return file.countSigners(authority) >= authority.threshold;
}

/**
 * Freeze: a file is of no use from the instant on that it names.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3 step 3, §5.4.4.4 step 4, §5.4.4.5 step 7, §5.4.4.6 step 5.
 *
 * @throws OtaError METADATA_EXPIRED
 */
export function verifyFresh(subject: Subject, { expiresAt }: Common, now: Instant): void {
  if (!isExpired(expiresAt, now)) return;
  const times = { expiresAt: formatInstant(expiresAt), nowAt: formatInstant(now) };
  throw new OtaError('METADATA_EXPIRED', { ...subject, ...times });
}

/**
 * Rollback: a version never goes down.
 *
 * Source: Uptane Standard 2.1 §5.4.4.4 step 3, §5.4.4.5 steps 4 and 5, §5.4.4.6 step 4.
 *
 * @param trusted - what was believed last; `undefined` if nothing was
 * @throws OtaError VERSION_ROLLBACK
 */
export function verifyNotOlder(
  subject: Subject,
  trusted: { readonly version: number } | undefined,
  offered: number,
): void {
  if (trusted === undefined || trusted.version <= offered) return;
  throw new OtaError('VERSION_ROLLBACK', { ...subject, trusted: trusted.version, offered });
}

/**
 * Mix-and-match: a file has the hashes that its parent lists.
 *
 * @param listedIn - the parent's role
 * @throws OtaError METADATA_HASH_MISMATCH
 */
export function verifyHashes(
  subject: Subject,
  file: File<Common>,
  { hashes }: Listing,
  listedIn: string,
): void {
  if (file.hasHashes(hashes)) return;
  throw new OtaError('METADATA_HASH_MISMATCH', { ...subject, listedIn });
}

/** Has a file the length that its parent lists, if it lists one? TUF specification §4.4, "LENGTH". */
export function hasLength({ bytes }: File<Common>, { lengthBytes }: Listing): boolean {
  return lengthBytes === undefined || lengthBytes === bytes.byteLength;
}

/**
 * Mix-and-match: a file has the length that its parent lists.
 *
 * @param listedIn - the parent's role
 * @throws OtaError METADATA_LENGTH_MISMATCH
 */
export function verifyLength(
  subject: Subject,
  file: File<Common>,
  listed: Listing,
  listedIn: string,
): void {
  if (hasLength(file, listed)) return;
  const listedBytes = listed.lengthBytes ?? 0;
  const lengths = { listedBytes, offeredBytes: file.bytes.byteLength };
  throw new OtaError('METADATA_LENGTH_MISMATCH', { ...subject, listedIn, ...lengths });
}

/**
 * Mix-and-match: a file has the version that its parent lists.
 *
 * Source: Uptane Standard 2.1 §5.4.4.5 and §5.4.4.6, step 2 of each.
 *
 * @throws OtaError METADATA_VERSION_MISMATCH
 */
export function verifyListedVersion(subject: Subject, file: File<Common>, listed: Listing): void {
  const offered = file.body.version;
  if (offered === listed.version) return;
  throw new OtaError('METADATA_VERSION_MISMATCH', { ...subject, listed: listed.version, offered });
}

/**
 * Rollback: no Targets file that was listed before may be listed with a lower version, or not at all.
 *
 * Source: Uptane Standard 2.1 §5.4.4.5 steps 5 and 6.
 *
 * @param named - what the role of a listed name is reported as
 * @throws OtaError VERSION_ROLLBACK, SNAPSHOT_ROLE_REMOVED
 */
export function verifySnapshotGrows(
  repo: Repo,
  trusted: Snapshot,
  offered: Snapshot,
  named: (name: string) => string = roleOf,
): void {
  for (const [file, before] of trusted.files) {
    // Some repositories list Root too; its own chain is what protects it.
    if (file === 'root.json') continue;
    const subject = { repo, role: named(file.replace(/\.json$/u, '')) };
    const after = offered.files.get(file);
    if (after === undefined) throw new OtaError('SNAPSHOT_ROLE_REMOVED', subject);
    verifyNotOlder(subject, before, after.version);
  }
}

/**
 * What a Snapshot says about a Targets role.
 *
 * @param name - as the roles above it spell it
 * @throws OtaError SNAPSHOT_ROLE_MISSING
 */
export function listingOf(repo: Repo, name: string, snapshot: Snapshot): Listing {
  const listing = snapshot.files.get(`${name}.json`);
  if (listing === undefined) {
    throw new OtaError('SNAPSHOT_ROLE_MISSING', { repo, role: roleOf(name) });
  }
  return listing;
}
