/**
 * One consistent set of targets, snapshot and timestamp metadata, and when it must be signed again.
 *
 * Both repositories use this: the Image repository keeps one set, the Director one per device. A set
 * is kept as the exact text served, so that a device which polls twice sees the same bytes.
 */
import { createHash } from 'node:crypto';

import type { JsonMap } from '../json/canonical-json.ts';
import { expiryText, type RepositoryKeys, type ValiditySeconds } from './repository-keys.ts';
import type { KeyPair } from '../signing.ts';
import { signFile, type Dialect } from './dialect.ts';

/** The served text of each file. Delegations by role name. */
export interface MetadataSet {
  readonly targets: string;
  readonly snapshot: string;
  readonly timestamp: string;
  readonly delegations: Readonly<Record<string, string>>;
}

export interface Versions {
  readonly targets: number;
  readonly snapshot: number;
  readonly timestamp: number;
  readonly delegations: Readonly<Record<string, number>>;
}

/** What is to be said, before it has versions, dates and signatures. */
export interface Content {
  /** Members of the Targets payload besides `_type`, `expires` and `version`. */
  readonly targets: JsonMap;
  readonly delegated: readonly DelegatedContent[];
  readonly rootVersion: number;
}

export interface DelegatedContent {
  readonly name: string;
  readonly targets: JsonMap;
  readonly keys: readonly KeyPair[];
}

/** A signed set, with what is needed to know whether it is still the right one. */
export interface IssuedSet {
  readonly current: MetadataSet;
  readonly versions: Versions;
  /** Of the content, the keys and the validity that went into `targets`. */
  readonly fingerprint: string;
  readonly rootVersion: number;
  /** From when on each file is signed again, in milliseconds since the epoch. */
  readonly dueAt: Readonly<Record<Level, number>>;
  /** The set before the last new snapshot, for faults that roll back. */
  readonly previous?: MetadataSet;
  /** The Targets file before the last new one. */
  readonly previousTargets?: string;
}

/** A new file of one level means new files of every level after it. */
export const LEVELS = ['targets', 'snapshot', 'timestamp'] as const;
export type Level = (typeof LEVELS)[number];

export interface Issuer {
  readonly keys: RepositoryKeys;
  readonly dialect: Dialect;
  readonly validity: ValiditySeconds;
  readonly nowMs: number;
  /** New versions are above this one: the highest that a fault has sent out. */
  readonly floor: number;
}

/** A file is renewed when a quarter of its validity is left. */
const RENEW_AT = 0.75;

/** @returns the first level that must be signed anew, or `undefined` when the set is good as it is */
export function levelDue(issued: IssuedSet, content: Content, issuer: Issuer): Level | undefined {
  const { dueAt, versions } = issued;
  const behind = versions.timestamp <= issuer.floor;
  if (behind || issued.fingerprint !== fingerprintOf(content, issuer)) return 'targets';
  if (dueAt.targets <= issuer.nowMs) return 'targets';
  if (issued.rootVersion !== content.rootVersion || dueAt.snapshot <= issuer.nowMs)
    return 'snapshot';
  return dueAt.timestamp <= issuer.nowMs ? 'timestamp' : undefined;
}

/** Signs `from` and everything after it, with higher versions than ever before. */
export function issueSet(
  before: IssuedSet | undefined,
  content: Content,
  issuer: Issuer,
  from: Level,
): IssuedSet {
  const renewed = new Set(LEVELS.slice(LEVELS.indexOf(from)));
  const versions = nextVersions(before?.versions, content, renewed, issuer.floor);
  const targets =
    before === undefined || renewed.has('targets')
      ? signTargets(content, versions, issuer)
      : before.current;
  const snapshot =
    before === undefined || renewed.has('snapshot')
      ? signSnapshot({ ...targets, versions, rootVersion: content.rootVersion }, issuer)
      : before.current.snapshot;
  const timestamp = signTimestamp(snapshot, versions, issuer);
  return {
    current: { targets: targets.targets, delegations: targets.delegations, snapshot, timestamp },
    versions,
    fingerprint: fingerprintOf(content, issuer),
    rootVersion: content.rootVersion,
    dueAt: nextDue(before?.dueAt, renewed, issuer),
    ...history(before, renewed),
  };
}

interface SignedTargets {
  readonly targets: string;
  readonly delegations: Readonly<Record<string, string>>;
}

function signTargets(content: Content, versions: Versions, issuer: Issuer): SignedTargets {
  const expires = expiryText(issuer.nowMs, issuer.validity.targets);
  const sign = (payload: JsonMap, version: number, keys: readonly KeyPair[]): string =>
    signFile(issuer.dialect, { ...payload, _type: 'Targets', expires, version }, keys);
  return {
    targets: sign(content.targets, versions.targets, issuer.keys.targets.keys),
    delegations: Object.fromEntries(
      content.delegated.map(({ name, targets, keys }) => [
        name,
        sign(targets, versions.delegations[name] ?? 1, keys),
      ]),
    ),
  };
}

interface Listed extends SignedTargets {
  readonly versions: Versions;
  readonly rootVersion: number;
}

function signSnapshot(listed: Listed, issuer: Issuer): string {
  const payload = {
    _type: 'Snapshot',
    expires: expiryText(issuer.nowMs, issuer.validity.snapshot),
    meta: snapshotMeta(listed),
    version: listed.versions.snapshot,
  };
  return signFile(issuer.dialect, payload, issuer.keys.snapshot.keys);
}

/** The field lists root by version only, and Targets files with length and SHA-256. */
export function snapshotMeta(listed: Listed): JsonMap {
  const entry = (text: string, version: number): JsonMap => ({
    hashes: { sha256: digest('sha256', text) },
    length: Buffer.byteLength(text),
    version,
  });
  const { targets, delegations, versions, rootVersion } = listed;
  const delegated = Object.entries(delegations).map(
    ([name, text]) => [`${name}.json`, entry(text, versions.delegations[name] ?? 1)] as const,
  );
  return {
    ...Object.fromEntries(delegated),
    'root.json': { version: rootVersion },
    'targets.json': entry(targets, versions.targets),
  };
}

function signTimestamp(snapshot: string, versions: Versions, issuer: Issuer): string {
  const payload = {
    _type: 'Timestamp',
    expires: expiryText(issuer.nowMs, issuer.validity.timestamp),
    meta: timestampMeta(snapshot, versions.snapshot),
    version: versions.timestamp,
  };
  return signFile(issuer.dialect, payload, issuer.keys.timestamp.keys);
}

export function timestampMeta(snapshot: string, version: number): JsonMap {
  const hashes = { sha256: digest('sha256', snapshot), sha512: digest('sha512', snapshot) };
  return { 'snapshot.json': { hashes, length: Buffer.byteLength(snapshot), version } };
}

function nextVersions(
  before: Versions | undefined,
  content: Content,
  renewed: ReadonlySet<Level>,
  floor: number,
): Versions {
  const next = (version = 0): number => Math.max(version, floor) + 1;
  const level = (name: Level): number =>
    before === undefined || renewed.has(name) ? next(before?.[name]) : before[name];
  const delegations = renewed.has('targets')
    ? content.delegated.map(({ name }) => [name, next(before?.delegations[name])] as const)
    : Object.entries(before?.delegations ?? {});
  return {
    targets: level('targets'),
    snapshot: level('snapshot'),
    timestamp: level('timestamp'),
    delegations: Object.fromEntries(delegations),
  };
}

function nextDue(
  before: IssuedSet['dueAt'] | undefined,
  renewed: ReadonlySet<Level>,
  { nowMs, validity }: Issuer,
): IssuedSet['dueAt'] {
  const due = (name: Level): number =>
    before === undefined || renewed.has(name)
      ? nowMs + validity[name] * 1000 * RENEW_AT
      : before[name];
  return { targets: due('targets'), snapshot: due('snapshot'), timestamp: due('timestamp') };
}

function history(
  before: IssuedSet | undefined,
  renewed: ReadonlySet<Level>,
): Pick<IssuedSet, 'previous' | 'previousTargets'> {
  if (before === undefined) return {};
  const previous = renewed.has('snapshot') ? before.current : before.previous;
  const targets = renewed.has('targets') ? before.current.targets : before.previousTargets;
  return {
    ...(previous === undefined ? {} : { previous }),
    ...(targets === undefined ? {} : { previousTargets: targets }),
  };
}

function fingerprintOf(content: Content, { keys, validity }: Issuer): string {
  const parts = [digestOf(content), ids(keys.targets.keys), validity];
  return digest('sha256', JSON.stringify(parts));
}

/** Contents never change, and a large repository is asked about with every poll of every device. */
const digests = new WeakMap<Content, string>();

function digestOf(content: Content): string {
  const known = digests.get(content);
  if (known !== undefined) return known;
  const delegated = content.delegated.map((one) => [one.name, one.targets, ids(one.keys)]);
  const computed = digest('sha256', JSON.stringify([content.targets, delegated]));
  digests.set(content, computed);
  return computed;
}

function ids(keys: readonly KeyPair[]): readonly string[] {
  return keys.map((key) => key.id);
}

function digest(algorithm: 'sha256' | 'sha512', text: string): string {
  return createHash(algorithm).update(text).digest('hex');
}
