/**
 * The metadata files of the Uptane dialect that aktualizr and its servers speak, parsed.
 *
 * Parsing gives shapes, never trust: `store.ts` decides what is believed. Fields that are not known
 * here are tolerated and stay part of what the signature covers.
 */
import { Fields, malformed } from '../decode.ts';
import { OtaError, type Repo } from '../errors.ts';
import { canonicalText } from '../json-text.ts';
import { view } from '../json-view.ts';
import {
  CanonicalForms,
  HASH_ALGORITHMS,
  hexLength,
  matchesHashes,
  signedText,
  type HashAlgorithm,
} from './canonical.ts';
import { readDelegations, type Delegation } from './delegation.ts';
import {
  countSigners,
  readAuthority,
  readKeys,
  readSignatures,
  type Authority,
  type PublicKey,
} from './keys.ts';
import { verifyRoleName } from './names.ts';
import { parseInstant, type Instant } from './time.ts';

/** One metadata file as received, in whatever format. */
export interface File<Body> {
  readonly bytes: Uint8Array;
  readonly body: Body;
  /** How many different keys of `authority` signed it. */
  countSigners(authority: Authority): number;
  /** Does it have every one of the hashes that its parent lists? */
  hasHashes(hashes: Hashes): boolean;
}

/** What every role has. */
export interface Common {
  readonly version: number;
  readonly expiresAt: Instant;
}

export type TopLevelRole = 'root' | 'timestamp' | 'snapshot' | 'targets';

export interface Root extends Common {
  readonly roles: Readonly<Record<TopLevelRole, Authority>>;
  /** Whether files are named by version and images by hash. */
  readonly consistentSnapshot: boolean;
  /** Who may sign updates that come on a medium; of a Director alone. */
  readonly offline?: Readonly<Partial<Record<OfflineRole, Authority>>>;
}

/** Source: Uptane PURE-2, "Offline updates". */
export type OfflineRole = 'offline-snapshot' | 'offline-updates';

/** Algorithm to lower-case hex. */
export type Hashes = ReadonlyMap<HashAlgorithm, string>;

/** What a parent says about a file. */
export interface Listing {
  readonly version: number;
  readonly lengthBytes: number | undefined;
  /** Empty if the parent lists none. */
  readonly hashes: Hashes;
}

export interface Timestamp extends Common {
  readonly snapshot: Listing;
}

export interface Snapshot extends Common {
  /** By file name: `targets.json`, `NAME.json`. */
  readonly files: ReadonlyMap<string, Listing>;
}

export interface TargetFile {
  readonly lengthBytes: number;
  /** At least one. */
  readonly hashes: Hashes;
  readonly custom: Fields | undefined;
}

/**
 * The files of a Targets role by filename, in the order they are listed in.
 *
 * Every entry is checked at once and read again when it is asked for: a repository may list a hundred
 * thousand, and a device wants one of them.
 */
export class TargetFiles implements Iterable<[string, TargetFile]> {
  readonly #files: Fields;

  /** @throws OtaError METADATA_MALFORMED if any entry is */
  constructor(files: Fields) {
    this.#files = files;
    for (const [, fields] of files.members()) readTargetFile(fields);
  }

  get size(): number {
    return this.#files.size;
  }

  get(filename: string): TargetFile | undefined {
    // An entry that is `null` is malformed and was refused.
    return this.#files.has(filename) ? readTargetFile(this.#files.object(filename)) : undefined;
  }

  *[Symbol.iterator](): Generator<[string, TargetFile]> {
    for (const [filename, fields] of this.#files.members())
      yield [filename, readTargetFile(fields)];
  }
}

export interface Targets extends Common {
  readonly targets: TargetFiles;
  readonly delegations: readonly Delegation[];
  readonly custom: Fields | undefined;
}

const HEX = /^[0-9a-f]*$/;

/** @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH */
export function parseRoot(bytes: Uint8Array, repo: Repo): File<Root> {
  return parseFile(bytes, { repo, role: 'root', type: 'root' }, (signed) => {
    const keys = readKeys(signed.object('keys'));
    const roles = signed.object('roles');
    return {
      ...common(signed),
      roles: {
        root: readAuthority(roles.object('root'), keys),
        timestamp: readAuthority(roles.object('timestamp'), keys),
        snapshot: readAuthority(roles.object('snapshot'), keys),
        targets: readAuthority(roles.object('targets'), keys),
      },
      consistentSnapshot: false,
      ...(repo === 'director' ? { offline: readOfflineRoles(roles, keys) } : {}),
    };
  });
}

function readOfflineRoles(
  roles: Fields,
  keys: ReadonlyMap<string, PublicKey>,
): NonNullable<Root['offline']> {
  const read = (role: OfflineRole): Root['offline'] => {
    const fields = roles.optionalObject(role);
    return fields === undefined ? {} : { [role]: readAuthority(fields, keys) };
  };
  return { ...read('offline-snapshot'), ...read('offline-updates') };
}

/**
 * A Timestamp has to list a hash of the Snapshot (Uptane Standard 2.1 §5.2.5), where TUF would
 * accept a version alone.
 *
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH
 */
export function parseTimestamp(bytes: Uint8Array, repo: Repo): File<Timestamp> {
  return parseFile(bytes, { repo, role: 'timestamp', type: 'timestamp' }, (signed) => {
    const snapshot = signed.object('meta').object('snapshot.json');
    return {
      ...common(signed),
      snapshot: { ...readListing(snapshot), hashes: readHashes(snapshot) },
    };
  });
}

/** @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH */
export function parseSnapshot(bytes: Uint8Array, repo: Repo): File<Snapshot> {
  return parseFile(bytes, { repo, role: 'snapshot', type: 'snapshot' }, snapshotBody);
}

/** @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH */
export function parseOfflineSnapshot(bytes: Uint8Array): File<Snapshot> {
  const role = 'offline-snapshot';
  return parseFile(bytes, { repo: 'director', role, type: role }, snapshotBody);
}

function snapshotBody(signed: Fields): Snapshot {
  return { ...common(signed), files: signed.object('meta').mapMembers(readListing) };
}

/**
 * @param role - `targets`, or the name of a delegated role
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH
 */
export function parseTargets(bytes: Uint8Array, repo: Repo, role: string): File<Targets> {
  return parseFile(bytes, { repo, role, type: 'targets' }, targetsBody);
}

/**
 * A type of its own: who may sign for both roles must not have the one taken for the other.
 *
 * @param role - `offline-updates/NAME`
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH
 */
export function parseOfflineUpdates(bytes: Uint8Array, role: string): File<Targets> {
  return parseFile(bytes, { repo: 'director', role, type: 'offline-updates' }, targetsBody);
}

function targetsBody(signed: Fields): Targets {
  return {
    ...common(signed),
    targets: new TargetFiles(signed.object('targets')),
    delegations: delegations(signed.optionalObject('delegations')),
    custom: signed.optionalObject('custom'),
  };
}

interface Expected {
  readonly repo: Repo;
  readonly role: string;
  readonly type: TopLevelRole | OfflineRole;
}

function parseFile<Body>(
  bytes: Uint8Array,
  expected: Expected,
  read: (signed: Fields) => Body,
): File<Body> {
  const { repo, role } = expected;
  const canonical = canonicalText(bytes, `${repo}/${role}`);
  const envelope = new Fields(view(bytes), `${repo}/${role}`);
  const signed = envelope.object('signed');
  const type = signed.string('_type');
  if (type.toLowerCase() !== expected.type) {
    throw new OtaError('ROLE_TYPE_MISMATCH', { repo, role, type });
  }
  const signatures = readSignatures(envelope);
  const covered = new CanonicalForms(signedText(canonical));
  return {
    bytes,
    body: read(signed),
    countSigners: (authority) => countSigners(signatures, authority, covered),
    hasHashes: (hashes) => matchesHashes(hashes, bytes, new CanonicalForms(canonical)),
  };
}

function common(signed: Fields): Common {
  return {
    version: signed.integer('version', 1),
    expiresAt: parseInstant(signed.string('expires'), signed.at('expires')),
  };
}

export function readListing(fields: Fields): Listing {
  return {
    version: fields.integer('version', 1),
    lengthBytes: fields.optionalInteger('length', 0),
    hashes: fields.has('hashes') ? readHashes(fields) : new Map(),
  };
}

function readTargetFile(fields: Fields): TargetFile {
  return {
    lengthBytes: fields.integer('length', 0),
    hashes: readHashes(fields),
    custom: fields.optionalObject('custom'),
  };
}

/** Algorithms that nobody here can compute prove nothing, so one that is known has to be there. */
export function readHashes(parent: Fields): Hashes {
  const fields = parent.object('hashes');
  const known = new Map<HashAlgorithm, string>();
  for (const algorithm of HASH_ALGORITHMS) {
    const hex = fields.optionalString(algorithm)?.toLowerCase();
    if (hex === undefined) continue;
    if (hex.length !== hexLength(algorithm) || !HEX.test(hex)) {
      throw malformed(fields.at(algorithm), `${String(hexLength(algorithm))} hex digits`);
    }
    known.set(algorithm, hex);
  }
  if (known.size === 0) throw malformed(fields.path, 'sha256 or sha512');
  return known;
}

function delegations(fields: Fields | undefined): readonly Delegation[] {
  if (fields?.has('roles') !== true) return [];
  const keys = readKeys(fields.object('keys'));
  const rules = {
    verifyName: verifyRoleName,
    readAuthority: (role: Fields) => readAuthority(role, keys),
  };
  return readDelegations(fields, rules);
}
