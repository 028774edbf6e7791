/** The four roles of a repository: their keys, and the chain of root metadata that names them. */
import type { JsonMap } from '../json/canonical-json.ts';
import { JsonReader, parseJson } from '../json/read-json.ts';
import { generateKey, type KeyPair, type KeyType } from '../signing.ts';
import { signFile, type Dialect } from './dialect.ts';

export const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;
export type Role = (typeof ROLES)[number];

/** Of a Director, for media: Uptane PURE-2. */
export const OFFLINE_ROLES = ['offline-snapshot', 'offline-updates'] as const;
export type OfflineRole = (typeof OFFLINE_ROLES)[number];
export type OfflineKeys = Readonly<Record<OfflineRole, RoleKeys>>;

export interface RoleKeys {
  readonly threshold: number;
  readonly keys: readonly KeyPair[];
}
export type RepositoryKeys = Readonly<Record<Role, RoleKeys>>;

/** Seconds that a newly signed file of each role is good for. */
export type ValiditySeconds = Readonly<Record<Role, number>>;

/** `roots[0]` is `1.root.json`, as served. */
export interface RootOfTrust {
  readonly keys: RepositoryKeys;
  readonly roots: readonly string[];
  readonly dialect: Dialect;
  /** Absent until something is signed for media. */
  readonly offline?: OfflineKeys;
}

export interface Rotation {
  readonly role: Role | OfflineRole;
  readonly keyType: KeyType;
  readonly keyCount: number;
  readonly threshold: number;
}

export function createRootOfTrust(
  keyType: KeyType,
  expires: string,
  dialect: Dialect = 'uptane',
): RootOfTrust {
  const one = (): RoleKeys => ({ threshold: 1, keys: [generateKey(keyType)] });
  const keys = { root: one(), targets: one(), snapshot: one(), timestamp: one() };
  const first = signFile(dialect, rootPayload({ keys }, 1, expires), keys.root.keys);
  return { keys, roots: [first], dialect };
}

/**
 * Replaces the keys of one role by new ones and signs the next root.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3: version N+1 carries the signatures of root N and of itself.
 */
export function rotateKeys(trust: RootOfTrust, rotation: Rotation, expires: string): RootOfTrust {
  const { role, keyType, keyCount, threshold } = rotation;
  const keys = Array.from({ length: keyCount }, () => generateKey(keyType));
  const fresh = { [role]: { threshold, keys } };
  if (role !== 'offline-snapshot' && role !== 'offline-updates') {
    return extendChain(trust, { ...trust.keys, ...fresh }, expires);
  }
  const before = trust.offline ?? newOfflineKeys(keyType);
  return extendChain({ ...trust, offline: { ...before, ...fresh } }, trust.keys, expires);
}

/** The next root, which names who signs for media; the root there is, if it does so already. */
export function withOfflineRoles(
  trust: RootOfTrust,
  keyType: KeyType,
  expires: string,
): RootOfTrust & { readonly offline: OfflineKeys } {
  if (trust.offline !== undefined) return { ...trust, offline: trust.offline };
  const offline = newOfflineKeys(keyType);
  return { ...extendChain({ ...trust, offline }, trust.keys, expires), offline };
}

function newOfflineKeys(keyType: KeyType): OfflineKeys {
  const one = (): RoleKeys => ({ threshold: 1, keys: [generateKey(keyType)] });
  return { 'offline-snapshot': one(), 'offline-updates': one() };
}

/** Signs the next root with the keys it already has. */
export function renewRoot(trust: RootOfTrust, expires: string): RootOfTrust {
  return extendChain(trust, trust.keys, expires);
}

/** What clients refuse: the next root signed by its own new keys only. */
export function forgeRoot(trust: RootOfTrust, keyType: KeyType, expires: string): string {
  const keys = { ...trust.keys, root: { threshold: 1, keys: [generateKey(keyType)] } };
  const payload = rootPayload({ ...trust, keys }, trust.roots.length + 1, expires);
  return signFile(trust.dialect, payload, keys.root.keys);
}

/** When the newest root expires, as milliseconds since the epoch. */
export function rootExpiresAt(trust: RootOfTrust): number {
  const newest = new JsonReader(parseJson(trust.roots.at(-1) ?? ''));
  return Date.parse(newest.object('signed').string('expires'));
}

/** `YYYY-MM-DDTHH:MM:SSZ`, exactly: aktualizr refuses fractions of a second. */
export function expiryText(nowMs: number, seconds: number): string {
  return `${new Date(nowMs + seconds * 1000).toISOString().slice(0, 19)}Z`;
}

/** The `keys` member of root metadata and of delegations. */
export function keysById(keys: readonly KeyPair[]): JsonMap {
  return Object.fromEntries(
    keys.map(({ id, publicKey: { keytype, keyval } }) => [
      id,
      { keytype, keyval: { public: keyval.public } },
    ]),
  );
}

function extendChain(trust: RootOfTrust, keys: RepositoryKeys, expires: string): RootOfTrust {
  const signers = new Map(
    [...keys.root.keys, ...trust.keys.root.keys].map((key) => [key.id, key] as const),
  );
  const next = rootPayload({ ...trust, keys }, trust.roots.length + 1, expires);
  const root = signFile(trust.dialect, next, [...signers.values()]);
  return { ...trust, keys, roots: [...trust.roots, root] };
}

function rootPayload(
  { keys, offline }: Pick<RootOfTrust, 'keys' | 'offline'>,
  version: number,
  expires: string,
): JsonMap {
  const all = Object.entries<RoleKeys>({ ...keys, ...offline });
  const role = ({ threshold, keys: own }: RoleKeys): JsonMap => ({
    keyids: own.map((key) => key.id),
    threshold,
  });
  return {
    _type: 'Root',
    consistent_snapshot: false,
    expires,
    keys: keysById(all.flatMap(([, own]) => own.keys)),
    roles: Object.fromEntries(all.map(([name, own]) => [name, role(own)])),
    version,
  };
}
