/** Images and delegations as Targets metadata. */
import type { JsonMap } from '../json/canonical-json.ts';
import type { ImageFile } from '../state/image-files.ts';
import type { Content } from './metadata-set.ts';
import { keysById, ROLES, type RoleKeys, type RootOfTrust } from './repository-keys.ts';

export interface Image extends Omit<ImageFile, 'sha512'> {
  /** Absent for a commit, which only its sha256 names. */
  readonly sha512?: string;
  readonly filename: string;
  readonly hardwareIds: readonly string[];
  readonly format: string;
  /** The `custom` member of its target entry, whole. */
  readonly custom: JsonMap;
  /** The delegated role that signs for it; absent: top-level targets. */
  readonly role?: string;
  /** Never served as it is, but to each device encrypted for it alone. */
  readonly encrypt?: true;
}

export interface Delegation {
  readonly name: string;
  readonly paths: readonly string[];
  readonly terminating: boolean;
  readonly keys: RoleKeys;
}

interface Published {
  readonly trust: RootOfTrust;
  readonly images: readonly Image[];
  readonly delegations: readonly Delegation[];
}

/** ota-tuf's limits on names. */
const FILENAME_CHARACTERS = 254;
const ROLE_NAME = /^[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,49}$/u;

/** What the metadata of the Image repository has to say. */
export function contentOf({ images, delegations, trust }: Published): Content {
  const targetsOf = (role: string | undefined): JsonMap =>
    Object.fromEntries(
      images
        .filter((image) => image.role === role)
        .map((image) => [image.filename, entryOf(image)]),
    );
  const top = { targets: targetsOf(undefined) };
  return {
    targets: delegations.length === 0 ? top : { ...top, delegations: delegationsOf(delegations) },
    delegated: delegations.map(({ name, keys }) => ({
      name,
      keys: keys.keys,
      targets: { targets: targetsOf(name) },
    })),
    rootVersion: trust.roots.length,
  };
}

function entryOf({ custom, sha256, sha512, lengthBytes }: Image): JsonMap {
  const hashes = sha512 === undefined ? { sha256 } : { sha256, sha512 };
  return { custom, hashes, length: lengthBytes };
}

function delegationsOf(delegations: readonly Delegation[]): JsonMap {
  return {
    keys: keysById(delegations.flatMap(({ keys }) => keys.keys)),
    roles: delegations.map(({ name, keys, paths, terminating }) => ({
      keyids: keys.keys.map((key) => key.id),
      name,
      paths,
      terminating,
      threshold: keys.threshold,
    })),
  };
}

/** Names that a client could take for a path outside, or not show. */
export function isUnsafeName(filename: string): boolean {
  return (
    filename.length < 1 ||
    filename.length > FILENAME_CHARACTERS ||
    filename.startsWith('/') ||
    filename.includes('..') ||
    /[\p{Cc}\p{Cs}]/u.test(filename)
  );
}

export function isUnsafeRole(name: string): boolean {
  return !ROLE_NAME.test(name) || ROLES.some((role) => role === name);
}
