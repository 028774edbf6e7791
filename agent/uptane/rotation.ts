/**
 * What of an older Timestamp and Snapshot still counts under a newer root (fast-forward recovery, R7).
 *
 * Whoever had keys that were rotated may have signed version 2^53-1 with them, so both stop counting
 * if either key was. All of this follows from what is stored and not from having watched the rotation,
 * so a power cut in the middle of it changes nothing.
 *
 * Source: Uptane Standard 2.1 §5.4.4.3 step 4; TUF 1.0 specification §5.3.11.
 */
import { meetsThreshold } from './checks.ts';
import type { File, Root, Snapshot, Timestamp } from './metadata.ts';

export interface Kept {
  readonly timestamp: File<Timestamp> | undefined;
  readonly snapshot: File<Snapshot> | undefined;
}

/** What of it counts, where the Snapshot is removed as soon as a rotation is seen. */
export function countingAfterForgetting({ timestamp, snapshot }: Kept, { roles }: Root): Kept {
  const rotated =
    (timestamp !== undefined && !meetsThreshold(timestamp, roles.timestamp)) ||
    (snapshot !== undefined && !meetsThreshold(snapshot, roles.snapshot));
  return rotated ? NOTHING : { timestamp, snapshot };
}

/**
 * What of it counts, where nothing is removed before there is something better to replace it.
 *
 * A Snapshot that its root no longer vouches for takes the Timestamp with it that lists exactly this
 * Snapshot: that one is as old. A Timestamp that lists another is younger than the rotation, so it
 * counts. A Snapshot newer than what such a Timestamp lists can only be a remnant from before.
 */
export function countingBesideRemnants({ timestamp, snapshot }: Kept, { roles }: Root): Kept {
  const snapshotGood = snapshot !== undefined && meetsThreshold(snapshot, roles.snapshot);
  if (timestamp === undefined) return snapshotGood ? { timestamp, snapshot } : NOTHING;
  if (!meetsThreshold(timestamp, roles.timestamp)) return NOTHING;
  const listed = timestamp.body.snapshot;
  if (snapshotGood) {
    const remnant = snapshot.body.version > listed.version;
    return { timestamp, snapshot: remnant ? undefined : snapshot };
  }
  const asOld = snapshot?.body.version === listed.version && snapshot.hasHashes(listed.hashes);
  return asOld ? NOTHING : { timestamp, snapshot: undefined };
}

const NOTHING: Kept = { timestamp: undefined, snapshot: undefined };
