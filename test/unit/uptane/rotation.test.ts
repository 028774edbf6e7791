/** What of a kept Timestamp and Snapshot counts under a newer root (R7). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { Authority } from '../../../agent/uptane/keys.ts';
import type { File, Root, Snapshot, Timestamp } from '../../../agent/uptane/metadata.ts';
import {
  countingAfterForgetting,
  countingBesideRemnants,
  type Kept,
} from '../../../agent/uptane/rotation.ts';
import { parseInstant } from '../../../agent/uptane/time.ts';

const common = { expiresAt: parseInstant('2026-12-01T00:00:00Z', 'test') };
const authority = (threshold: number): Authority => ({ keys: new Map(), threshold });
/** Every role has a threshold of its own, so that none can stand in for another. */
const root: Root = {
  ...{ ...common, version: 2, consistentSnapshot: true },
  roles: {
    ...{ root: authority(9), timestamp: authority(2), snapshot: authority(3) },
    targets: authority(9),
  },
};
const GOOD = { timestamp: 2, snapshot: 3 } as const;

function timestamp(signers: number, listed = 5): File<Timestamp> {
  const snapshot = { version: listed, lengthBytes: undefined, hashes: new Map() };
  const body = { ...common, version: 4, snapshot };
  return { ...file(signers), body };
}

function snapshot(signers: number, version = 5, hasHashes = true): File<Snapshot> {
  const body = { ...common, version, files: new Map() };
  return { ...file(signers), body, hasHashes: () => hasHashes };
}

function file(signers: number): Omit<File<never>, 'body'> {
  return { bytes: Buffer.from(''), countSigners: () => signers, hasHashes: () => true };
}

function counts(rule: typeof countingBesideRemnants, kept: Kept, expected: Partial<Kept>): void {
  const all = { timestamp: undefined, snapshot: undefined, ...expected };
  const counting = rule(kept, root);
  assert.equal(counting.timestamp, all.timestamp);
  assert.equal(counting.snapshot, all.snapshot);
}

describe('where a rotation removes what it outdated (R7, §5.4.4.3 step 4)', () => {
  const rule = countingAfterForgetting;

  test('what both keys still sign counts, whichever of the two is there', () => {
    const both = { timestamp: timestamp(GOOD.timestamp), snapshot: snapshot(GOOD.snapshot) };
    counts(rule, both, both);
    counts(rule, { ...both, timestamp: undefined }, { snapshot: both.snapshot });
    counts(rule, { ...both, snapshot: undefined }, { timestamp: both.timestamp });
    counts(rule, { timestamp: undefined, snapshot: undefined }, {});
  });

  test('one rotated key takes both away', () => {
    const good = { timestamp: timestamp(GOOD.timestamp), snapshot: snapshot(GOOD.snapshot) };
    counts(rule, { ...good, timestamp: timestamp(GOOD.timestamp - 1) }, {});
    counts(rule, { ...good, snapshot: snapshot(GOOD.snapshot - 1) }, {});
  });
});

describe('where nothing is removed before its replacement (R7, TUF 1.0 §5.3.11)', () => {
  const rule = countingBesideRemnants;
  const [oldTimestamp, oldSnapshot] = [GOOD.timestamp - 1, GOOD.snapshot - 1];

  test('without a Timestamp a Snapshot counts by its own signatures', () => {
    const good = { timestamp: undefined, snapshot: snapshot(GOOD.snapshot) };
    counts(rule, good, good);
    counts(rule, { ...good, snapshot: snapshot(oldSnapshot) }, {});
    counts(rule, { ...good, snapshot: undefined }, {});
  });

  test('a Timestamp by a rotated key takes the Snapshot with it', () => {
    const kept = { timestamp: timestamp(oldTimestamp), snapshot: snapshot(GOOD.snapshot) };
    counts(rule, kept, {});
  });

  test('a Snapshot up to the version that a good Timestamp lists counts', () => {
    const kept = { timestamp: timestamp(GOOD.timestamp, 5), snapshot: snapshot(GOOD.snapshot, 5) };
    counts(rule, kept, kept);
    const behind = { ...kept, snapshot: snapshot(GOOD.snapshot, 4) };
    counts(rule, behind, behind);
  });

  test('a Snapshot beyond what a good Timestamp lists is from before the rotation', () => {
    const kept = { timestamp: timestamp(GOOD.timestamp, 5), snapshot: snapshot(GOOD.snapshot, 6) };
    counts(rule, kept, { timestamp: kept.timestamp });
  });

  test('a Snapshot by a rotated key takes the Timestamp that lists exactly this one', () => {
    counts(
      rule,
      { timestamp: timestamp(GOOD.timestamp, 5), snapshot: snapshot(oldSnapshot, 5) },
      {},
    );
  });

  test('a Timestamp that lists another, or none is there, is younger and counts', () => {
    const good = timestamp(GOOD.timestamp, 5);
    for (const snapshotOf of [
      snapshot(oldSnapshot, 4),
      snapshot(oldSnapshot, 5, false),
      undefined,
    ]) {
      counts(rule, { timestamp: good, snapshot: snapshotOf }, { timestamp: good });
    }
  });
});
