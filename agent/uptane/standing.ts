/** Disk and seal compared: is what the disk holds at least as new as what was sealed? */
import type { Repo } from '../errors.ts';
import type { Floors } from './floors.ts';
import type { Seal } from './seal.ts';
import type { Instant } from './time.ts';

/** What the database remembers of its seal. */
export interface Binding {
  /** Absent until the first seal is made. */
  readonly stateId: string | undefined;
  /** Of the newest seal, written here before the token gets it. */
  readonly sequence: number;
  /** Whether a seal was ever known to be in the token. */
  readonly sealed: boolean;
  /** Why the last one could not be stored, and when that was tried. */
  readonly failed: { readonly cause: string; readonly at: Instant } | undefined;
}

/** Everything on disk that must not go back. */
export interface Holdings {
  readonly floors: Floors;
  readonly latestKnownTime: Instant;
  /** Highest release counter by ECU serial. */
  readonly releases: ReadonlyMap<string, number>;
}

export type Standing =
  /** There is no seal yet, and there was none. */
  | { readonly is: 'unsealed' }
  | { readonly is: 'current' }
  | Behind
  /** The seal, or its absence, belongs to another disk. */
  | { readonly is: 'foreign'; readonly problem: string };

/** The disk is older than the seal. */
export interface Behind {
  readonly is: 'behind';
  readonly what: string;
  readonly sealed: string;
  readonly found: string;
  /** Whether the repositories can bring the disk up to date: not if it holds a root nobody sealed. */
  readonly canCatchUp: boolean;
}

/**
 * Compares them.
 *
 * The database writes the number of a seal before the token stores it, so an honest disk is never
 * behind it, whenever the power fails, and every copy from before the last seal is. The versions are
 * held against each other as well: who can put back a disk may also know how to edit a number.
 */
export function standingOf(seal: Seal | undefined, binding: Binding, disk: Holdings): Standing {
  if (seal === undefined) {
    if (!binding.sealed) return { is: 'unsealed' };
    return { is: 'foreign', problem: 'the token has no seal, but this storage was sealed in one' };
  }
  const { stateId, sequence } = binding;
  if (stateId === undefined) return behind('storage', seal.sequence, 'none');
  if (stateId !== seal.stateId) {
    return { is: 'foreign', problem: 'the seal in the token is that of another storage' };
  }
  if (sequence < seal.sequence) return behind('storage', seal.sequence, sequence);
  return (
    rootsApart(seal, disk.floors) ??
    versionsBehind(seal, disk.floors) ??
    releasesBehind(seal, disk) ??
    timeBehind(seal, disk) ?? { is: 'current' }
  );
}

/** The next seal: nothing in it is lower than before, unless a newer root took it back. */
export function raisedSeal(seal: Seal, { floors, latestKnownTime, releases }: Holdings): Seal {
  const versions = new Map<string, number>();
  const roots = new Map<Repo, string>();
  for (const repo of REPOS) {
    const root = `${repo}/root`;
    const [sealed = 0, found = 0] = [seal.versions.get(root), floors.versions.get(root)];
    const isOnSameRoot = found === sealed;
    roots.set(repo, (found > sealed ? floors : seal).roots.get(repo) ?? '');
    if (found <= sealed) raiseAll(versions, ofRepo(repo, seal.versions));
    if (found > sealed || isOnSameRoot) raiseAll(versions, ofRepo(repo, sealable(floors)));
  }
  const higher = new Map(seal.releases);
  raiseAll(higher, releases);
  return {
    ...seal,
    latestKnownTime: Math.max(seal.latestKnownTime, latestKnownTime) as Instant,
    versions,
    roots,
    releases: higher,
  };
}

/** Exactly what the disk holds, for a seal that follows it wherever it is. */
export function sealedAs(
  { stateId, sequence, reports }: Pick<Seal, 'stateId' | 'sequence' | 'reports'>,
  { floors, latestKnownTime, releases }: Holdings,
): Seal {
  const { roots } = floors;
  return {
    stateId,
    sequence,
    reports,
    latestKnownTime,
    versions: sealable(floors),
    roots,
    releases,
  };
}

/**
 * Whether a seal is worth a write: tokens are slow, and their flash wears.
 *
 * A Timestamp alone is not. It is signed anew all the time and only says that nothing happened.
 */
export function isWorthSealing(before: Seal, after: Seal): boolean {
  const rose = [...after.versions].some(
    ([name, version]) => !name.endsWith('/timestamp') && version > (before.versions.get(name) ?? 0),
  );
  const released = [...after.releases].some(
    ([ecu, counter]) => counter > (before.releases.get(ecu) ?? -1),
  );
  return rose || released || after.latestKnownTime > before.latestKnownTime;
}

const REPOS = ['director', 'image'] as const;

/** All but the delegated roles that this device never used: a Snapshot can list thousands. */
function sealable({ versions, used }: Floors): ReadonlyMap<string, number> {
  const names = [...versions.keys()].filter((name) => !name.includes('/delegated/'));
  return new Map([...names, ...used].map((name) => [name, versions.get(name) ?? 0]));
}

function ofRepo(repo: Repo, versions: ReadonlyMap<string, number>): Iterable<[string, number]> {
  return [...versions].filter(([name]) => name.startsWith(`${repo}/`));
}

function raiseAll(into: Map<string, number>, from: Iterable<readonly [string, number]>): void {
  for (const [name, number] of from) into.set(name, Math.max(into.get(name) ?? 0, number));
}

/** One version, two contents: somebody signed another root, with keys that were good once. */
function rootsApart(seal: Seal, { versions, roots }: Floors): Behind | undefined {
  for (const repo of REPOS) {
    const root = `${repo}/root`;
    if (versions.get(root) !== seal.versions.get(root)) continue;
    const [sealed = '', found = ''] = [seal.roots.get(repo), roots.get(repo)];
    if (sealed !== found) return { ...behind(root, sealed, found), canCatchUp: false };
  }
  return undefined;
}

function versionsBehind(seal: Seal, { versions }: Floors): Behind | undefined {
  for (const [name, sealed] of seal.versions) {
    const [repo] = name.split('/');
    const root = `${repo ?? ''}/root`;
    // A newer root may have taken versions back, and is itself newer than the seal.
    if (name !== root && (versions.get(root) ?? 0) > (seal.versions.get(root) ?? 0)) continue;
    const found = versions.get(name) ?? 0;
    if (found < sealed) return behind(name, sealed, found);
  }
  return undefined;
}

function releasesBehind(seal: Seal, { releases }: Holdings): Behind | undefined {
  for (const [ecu, sealed] of seal.releases) {
    const found = releases.get(ecu);
    if ((found ?? -1) < sealed) return behind(`release counter of ${ecu}`, sealed, found ?? 'none');
  }
  return undefined;
}

function timeBehind(seal: Seal, { latestKnownTime }: Holdings): Behind | undefined {
  if (latestKnownTime >= seal.latestKnownTime) return undefined;
  return behind('latest known time', seal.latestKnownTime, latestKnownTime);
}

function behind(what: string, sealed: string | number, found: string | number): Behind {
  return {
    is: 'behind',
    what,
    sealed: String(sealed),
    found: String(found),
    canCatchUp: true,
  };
}
