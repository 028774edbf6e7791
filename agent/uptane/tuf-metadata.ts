/**
 * The metadata files of TUF 1.0, parsed into the same shapes as those of the Uptane dialect.
 *
 * Parsing gives shapes, never trust: `store.ts` decides what is believed. Fields that are not known
 * here are tolerated and stay part of what the signature covers.
 *
 * Source: TUF specification 1.0 §4.
 */
import { Fields, malformed } from '../decode.ts';
import { OtaError, type Repo } from '../errors.ts';
import { canonicalText } from '../json-text.ts';
import { view } from '../json-view.ts';
import { digest, signedText } from './canonical.ts';
import { delegationEntries, readBins, readDelegations, type Delegation } from './delegation.ts';
import type { Authority } from './keys.ts';
import {
  readListing,
  TargetFiles,
  type Common,
  type File,
  type Hashes,
  type Root,
  type Snapshot,
  type Targets,
  type Timestamp,
  type TopLevelRole,
} from './metadata.ts';
import { verifyTufRoleName } from './names.ts';
import { parseInstant } from './time.ts';
import { olpcForm } from './tuf-canonical.ts';
import { countTufSigners, readTufAuthority, readTufKeys, readTufSignatures } from './tuf-keys.ts';

const SPEC_VERSION = /^1\.\d+(?:\.\d+)?$/;
const SNAPSHOT_FILE = 'snapshot.json';

/** @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH */
export function parseTufRoot(bytes: Uint8Array, repo: Repo): File<Root> {
  return parseTufFile(bytes, { repo, role: 'root', type: 'root' }, (signed) => {
    const keys = readTufKeys(signed.object('keys'));
    const roles = signed.object('roles');
    const authority = (role: TopLevelRole): Authority => readTufAuthority(roles.object(role), keys);
    return {
      ...common(signed),
      roles: {
        root: authority('root'),
        timestamp: authority('timestamp'),
        snapshot: authority('snapshot'),
        targets: authority('targets'),
      },
      consistentSnapshot: signed.optionalBoolean('consistent_snapshot') ?? false,
    };
  });
}

/**
 * A Timestamp need not list length or hashes: then the version alone binds, and our own limits.
 *
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH
 */
export function parseTufTimestamp(bytes: Uint8Array, repo: Repo): File<Timestamp> {
  return parseTufFile(bytes, { repo, role: 'timestamp', type: 'timestamp' }, (signed) => {
    const meta = signed.object('meta');
    if (meta.size !== 1) throw malformed(meta.path, `only ${SNAPSHOT_FILE}`);
    return { ...common(signed), snapshot: readListing(meta.object(SNAPSHOT_FILE)) };
  });
}

/** @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH */
export function parseTufSnapshot(bytes: Uint8Array, repo: Repo): File<Snapshot> {
  return parseTufFile(bytes, { repo, role: 'snapshot', type: 'snapshot' }, (signed) => {
    const files = signed.object('meta').mapMembers(readListing);
    return { ...common(signed), files };
  });
}

/**
 * @param role - `targets` or `delegated/NAME`
 * @throws OtaError METADATA_MALFORMED, ROLE_TYPE_MISMATCH
 */
export function parseTufTargets(bytes: Uint8Array, repo: Repo, role: string): File<Targets> {
  return parseTufFile(bytes, { repo, role, type: 'targets' }, (signed) => {
    const targets = new TargetFiles(signed.object('targets'));
    return {
      ...common(signed),
      targets,
      delegations: delegations(signed.optionalObject('delegations')),
      custom: undefined,
    };
  });
}

interface Expected {
  readonly repo: Repo;
  readonly role: string;
  readonly type: TopLevelRole;
}

function parseTufFile<Body>(
  bytes: Uint8Array,
  { repo, role, type: expected }: Expected,
  read: (signed: Fields) => Body,
): File<Body> {
  const canonical = canonicalText(bytes, `${repo}/${role}`);
  const envelope = new Fields(view(bytes), `${repo}/${role}`);
  const signed = envelope.object('signed');
  const type = signed.string('_type');
  if (type !== expected) throw new OtaError('ROLE_TYPE_MISMATCH', { repo, role, type });
  const signatures = readTufSignatures(envelope);
  const covered = olpcForm(signedText(canonical));
  return {
    bytes,
    body: read(signed),
    countSigners: (authority) => countTufSigners(signatures, authority, covered),
    hasHashes: (hashes) => hasHashes(bytes, hashes),
  };
}

/** Over the bytes as received, which is what TUF hashes. */
function hasHashes(bytes: Uint8Array, hashes: Hashes): boolean {
  return [...hashes].every(([algorithm, hex]) => digest(algorithm, bytes) === hex);
}

/** @throws OtaError METADATA_MALFORMED, also for another major version of the specification */
function common(signed: Fields): Common {
  if (!SPEC_VERSION.test(signed.string('spec_version'))) {
    throw malformed(signed.at('spec_version'), 'a version 1 of the TUF specification');
  }
  return {
    version: signed.integer('version', 1),
    expiresAt: parseInstant(signed.string('expires'), signed.at('expires')),
  };
}

function delegations(fields: Fields | undefined): readonly Delegation[] {
  if (fields === undefined) return [];
  const bins = fields.optionalObject('succinct_roles');
  if (!fields.has('roles') && bins === undefined) return [];
  const keys = readTufKeys(fields.object('keys'));
  const rules = {
    verifyName: verifyTufRoleName,
    readAuthority: (role: Fields) => readTufAuthority(role, keys),
  };
  if (bins === undefined) {
    verifyEntries(delegationEntries(fields));
    return readDelegations(fields, rules);
  }
  if (fields.has('roles')) throw malformed(bins.path, 'either roles or succinct_roles');
  return [readBins(bins, rules)];
}

function verifyEntries(entries: readonly Fields[]): void {
  const names = new Set<string>();
  for (const entry of entries) {
    // No default: left out by mistake, it would open what was meant to be closed.
    entry.boolean('terminating');
    if (entry.has('roles')) continue;
    const name = entry.string('name');
    // The keys of which one would count?
    if (names.has(name)) throw malformed(entry.at('name'), 'each role once');
    names.add(name);
  }
}
