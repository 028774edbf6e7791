/** Each check by itself: where its line is, and what it says when it refuses. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  hasLength,
  listingOf,
  meetsThreshold,
  verifyHashes,
  verifyLength,
  verifyListedVersion,
  verifySnapshotGrows,
} from '../../../agent/uptane/checks.ts';
import type { Common, File, Listing, Snapshot } from '../../../agent/uptane/metadata.ts';
import { parseInstant } from '../../../agent/uptane/time.ts';
import { throwsCode } from '../../support/expect-code.ts';

const SUBJECT = { repo: 'image', role: 'snapshot' } as const;
const common: Common = { version: 7, expiresAt: parseInstant('2026-12-01T00:00:00Z', 'test') };
const file: File<Common> = {
  bytes: Buffer.from('12345'),
  body: common,
  countSigners: () => 2,
  hasHashes: () => false,
};
const listing = (version: number, lengthBytes?: number): Listing => ({
  ...{ version, lengthBytes },
  hashes: new Map(),
});
const snapshot = (versions: Readonly<Record<string, number>>): Snapshot => ({
  ...common,
  files: new Map(Object.entries(versions).map(([name, version]) => [name, listing(version)])),
});

test('a length is held against the one that is listed, if one is (S1, G1)', () => {
  assert.ok(hasLength(file, listing(1)));
  assert.ok(hasLength(file, listing(1, 5)));
  for (const listedBytes of [0, 4, 6]) {
    const details = { ...SUBJECT, listedIn: 'timestamp', listedBytes, offeredBytes: 5 };
    throwsCode(
      () => {
        verifyLength(SUBJECT, file, listing(1, listedBytes), 'timestamp');
      },
      'METADATA_LENGTH_MISMATCH',
      details,
    );
  }
});

test('other hashes than those listed are refused, and who lists them is said (S2)', () => {
  const details = { ...SUBJECT, listedIn: 'timestamp' };
  throwsCode(
    () => {
      verifyHashes(SUBJECT, file, listing(1), 'timestamp');
    },
    'METADATA_HASH_MISMATCH',
    details,
  );
});

test('a version above the listed one is as wrong as one below it (S2, G2)', () => {
  verifyListedVersion(SUBJECT, file, listing(7));
  for (const listed of [6, 8]) {
    throwsCode(
      () => {
        verifyListedVersion(SUBJECT, file, listing(listed));
      },
      'METADATA_VERSION_MISMATCH',
      { ...SUBJECT, listed, offered: 7 },
    );
  }
});

test('a threshold is met by as many as it says (T2)', () => {
  const met = (threshold: number): boolean => meetsThreshold(file, { keys: new Map(), threshold });
  assert.deepEqual([met(1), met(2), met(3)], [true, true, false]);
});

describe('a Snapshot grows (S5, S6)', () => {
  const refuses = (after: Readonly<Record<string, number>>): (() => void) => {
    const before = { 'root.json': 9, 'targets.json': 2, 'a.json.b.json': 3 };
    return () => {
      verifySnapshotGrows('image', snapshot(before), snapshot(after));
    };
  };

  test('with the same or higher versions, whatever it says of Root', () => {
    refuses({ 'targets.json': 2, 'a.json.b.json': 4, 'new.json': 1 })();
    refuses({ 'root.json': 1, 'targets.json': 2, 'a.json.b.json': 3 })();
  });

  test('or it names the role that went back or away', () => {
    const role = 'delegated/a.json.b';
    throwsCode(refuses({ 'targets.json': 2, 'a.json.b.json': 2 }), 'VERSION_ROLLBACK', {
      ...{ repo: 'image', role },
      ...{ trusted: 3, offered: 2 },
    });
    throwsCode(refuses({ 'targets.json': 2 }), 'SNAPSHOT_ROLE_REMOVED', { repo: 'image', role });
    throwsCode(refuses({ 'targets.json': 1, 'a.json.b.json': 3 }), 'VERSION_ROLLBACK', {
      ...{ repo: 'image', role: 'targets' },
      ...{ trusted: 2, offered: 1 },
    });
  });
});

test('a role that a Snapshot does not list is named (G2)', () => {
  assert.equal(listingOf('image', 'a', snapshot({ 'a.json': 4 })).version, 4);
  throwsCode(() => listingOf('image', 'b', snapshot({ 'a.json': 4 })), 'SNAPSHOT_ROLE_MISSING', {
    ...{ repo: 'image', role: 'delegated/b' },
  });
});
