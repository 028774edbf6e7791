/**
 * What a metadata format decides: how files look, what they are called, and the few rules that differ.
 *
 * Everything else is the same for every format and is in `store.ts`, the one state machine. The format
 * of the Uptane dialect that aktualizr and its servers speak is here; TUF's is in `tuf.ts`.
 */
import type { Repo } from '../errors.ts';
import {
  parseRoot,
  parseSnapshot,
  parseTargets,
  parseTimestamp,
  type File,
  type Listing,
  type Root,
  type Snapshot,
  type TargetFile,
  type Targets,
  type Timestamp,
} from './metadata.ts';
import type { Instant } from './time.ts';

export interface Format {
  readonly name: 'uptane' | 'tuf';
  readonly maxBytes: Limits;
  readonly rules: Rules;
  parseRoot(bytes: Uint8Array, repo: Repo): File<Root>;
  parseTimestamp(bytes: Uint8Array, repo: Repo): File<Timestamp>;
  parseSnapshot(bytes: Uint8Array, repo: Repo): File<Snapshot>;
  /** @param role - `targets` or `delegated/NAME`, for failures */
  parseTargets(bytes: Uint8Array, repo: Repo, role: string): File<Targets>;
  snapshotFile(root: Root, listed: Listing): string;
  /**
   * @param name - as the roles above it spell it
   * @param listed - `undefined` where no Snapshot is served
   */
  targetsFile(root: Root, name: string, listed: Listing | undefined): string;
  /** The name an image is served under, below `targets/`, where that is not its filename. */
  imageFile(root: Root, filename: string, file: TargetFile): string | undefined;
  /** A second implementation that has to accept, too. */
  readonly openJudge?: (repo: Repo, root: File<Root>, now: Instant) => Judge;
}

/** Of what is not signed for: a signed length that is smaller goes before them. */
interface Limits {
  readonly root: number;
  readonly timestamp: number;
  readonly snapshot: number;
  readonly targets: Readonly<Record<Repo, number>>;
}

interface Rules {
  /** A Timestamp of the version that is kept: does it replace that one? TUF 1.0 §5.4.3 says no. */
  readonly sameTimestamp: 'replace' | 'discard';
  /** What a kept Timestamp lists is a floor for the Snapshot's version. TUF 1.0 §5.4.3. */
  readonly listedSnapshot: 'free' | 'binds';
  /**
   * What Targets are held against: the versions seen before (Uptane Standard 2.1 §5.4.4.6 step 4), or
   * the Snapshot alone, so that new Snapshot keys can take a version back (TUF 1.0 §5.6).
   */
  readonly targetsVersion: 'never-lower' | 'as-listed';
  /** A length listed for a file: a limit, or the length it has to have. */
  readonly listedLength: 'limit' | 'exact';
  /** More new roots than are taken at once: an error, or the rest at the next poll (TUF 1.0 §5.3.3). */
  readonly longChain: 'refuse' | 'continue';
  /** What a rotation has outdated: removed at once, or left until it is replaced. */
  readonly outdated: 'forget' | 'ignore';
}

/**
 * Judges the same files in the same order, each after every check here passed.
 *
 * @throws OtaError METADATA_MALFORMED where the judges disagree
 */
export interface Judge {
  addRoot(file: File<Root>): void;
  /** @param previous - what was believed before, if that still counts */
  addTimestamp(file: File<Timestamp>, previous: File<Timestamp> | undefined): void;
  addSnapshot(file: File<Snapshot>, previous: File<Snapshot> | undefined): void;
  /** @param delegator - `root`, or the name of the Targets role whose keys count */
  addTargets(file: File<Targets>, name: string, delegator: string): void;
}

export const UPTANE: Format = {
  name: 'uptane',
  maxBytes: {
    root: 64 * 1024,
    timestamp: 64 * 1024,
    snapshot: 64 * 1024,
    targets: { director: 64 * 1024, image: 8 * 1024 * 1024 },
  },
  rules: {
    sameTimestamp: 'replace',
    listedSnapshot: 'free',
    targetsVersion: 'never-lower',
    listedLength: 'limit',
    longChain: 'refuse',
    outdated: 'forget',
  },
  parseRoot,
  parseTimestamp,
  parseSnapshot,
  parseTargets,
  snapshotFile: () => 'snapshot.json',
  targetsFile: (_root, name) => (name === 'targets' ? 'targets.json' : `delegations/${name}.json`),
  imageFile: () => undefined,
};

/** From the configuration. */
interface ConfiguredLimits {
  readonly rootBytes: number;
  readonly imageTargetsBytes: number;
}

/** A format with limits of its own; roots may always be as large as the format itself allows. */
export function withLimits(
  format: Format,
  { rootBytes, imageTargetsBytes }: ConfiguredLimits,
): Format {
  const root = Math.max(format.maxBytes.root, rootBytes);
  const targets = { ...format.maxBytes.targets, image: imageTargetsBytes };
  return { ...format, maxBytes: { ...format.maxBytes, root, targets } };
}
