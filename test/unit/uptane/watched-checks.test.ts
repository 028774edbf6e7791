/** What an observer hears of each check: its clause, its facts, and nothing of a check that failed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Fields } from '../../../agent/decode.ts';
import { readKeys, type Authority } from '../../../agent/uptane/keys.ts';
import type { Common, File, Listing, Snapshot } from '../../../agent/uptane/metadata.ts';
import type { Observer, Passed } from '../../../agent/uptane/observer.ts';
import { parseInstant } from '../../../agent/uptane/time.ts';
import { tellPassed, watchChecks } from '../../../agent/uptane/watched-checks.ts';
import { ed25519, keysObject } from '../../support/build-metadata.ts';

const EXPIRES = parseInstant('2026-12-01T00:00:00Z', 'test');
const NOW = parseInstant('2026-11-21T00:00:00Z', 'test');
const TIMESTAMP = { repo: 'director', role: 'timestamp' } as const;
const DELEGATED = { repo: 'image', role: 'delegated/a' } as const;
const authority: Authority = {
  keys: readKeys(new Fields(keysObject([ed25519(), ed25519(), ed25519()]), 'keys')),
  threshold: 1,
};
const file: File<Common> = {
  bytes: Buffer.from('12345'),
  body: { version: 7, expiresAt: EXPIRES },
  countSigners: () => 2,
  hasHashes: () => true,
};
const listing = (listed: Partial<Listing> = {}): Listing => ({
  version: 7,
  lengthBytes: undefined,
  hashes: new Map(),
  ...listed,
});

class Ear implements Observer {
  readonly heard: Passed[] = [];
  passed(check: Passed): void {
    this.heard.push(check);
  }
  accepted(): void {
    throw new Error('checks accept nothing');
  }
}

/** What is heard of one check about one file. */
function heard(check: (checks: ReturnType<typeof watchChecks>) => unknown): readonly Passed[] {
  const ear = new Ear();
  check(watchChecks(ear));
  return ear.heard;
}

describe('the clause of a check (P10)', () => {
  const clauses = {
    root: { threshold: '3 step 2.3', 'next-version': '3 step 2.4', 'not-expired': '3 step 3' },
    timestamp: { threshold: '4 step 2', 'not-older': '4 step 3', 'not-expired': '4 step 4' },
    snapshot: {
      ...{ threshold: '5 step 3', 'not-older': '5 step 4', hashes: '5 step 2' },
      ...{ length: '5 step 1', 'listed-version': '5 step 2', 'nothing-removed': '5 steps 5 and 6' },
      ...{ 'not-expired': '5 step 7', 'still-current': '5 step 2' },
    },
    targets: {
      ...{ threshold: '6 step 3', 'not-older': '6 step 4', hashes: '6 step 2' },
      ...{ length: '6 step 1', 'listed-version': '6 step 2', 'not-expired': '6 step 5' },
      'still-current': '6 step 2',
    },
    'delegated/a': { threshold: '6 step 3' },
  };
  for (const [role, checks] of Object.entries(clauses)) {
    test(`about ${role} is that of its section`, () => {
      for (const [check, clause] of Object.entries(checks)) {
        const ear = new Ear();
        tellPassed(ear, { repo: 'image', role }, check as 'threshold');
        const expected = { repo: 'image', role, check, clause: `§5.4.4.${clause}`, facts: {} };
        assert.deepEqual(ear.heard, [expected]);
      }
    });
  }

  test('is the section alone where the Standard has no such step', () => {
    const ear = new Ear();
    tellPassed(ear, TIMESTAMP, 'hashes');
    assert.equal(ear.heard[0]?.clause, '§5.4.4.4');
  });

  test('is told to nobody where nobody watches', () => {
    tellPassed(undefined, TIMESTAMP, 'hashes');
  });
});

describe('a check that held is told with its facts (P10)', () => {
  test('the threshold: signatures, those needed, and keys (T2)', () => {
    const [told] = heard((checks) => checks.verifyThreshold(TIMESTAMP, file, authority));
    assert.deepEqual(told, {
      ...{ ...TIMESTAMP, check: 'threshold', clause: '§5.4.4.4 step 2' },
      facts: { valid: 2, threshold: 1, keys: 3 },
    });
  });

  test('freshness: when a file ends, and what time it is (T4)', () => {
    const [told] = heard((checks) => {
      checks.verifyFresh(TIMESTAMP, file.body, NOW);
    });
    assert.deepEqual(told, {
      ...{ ...TIMESTAMP, check: 'not-expired', clause: '§5.4.4.4 step 4' },
      facts: { expiresAt: '2026-12-01T00:00:00Z', at: '2026-11-21T00:00:00Z' },
    });
  });

  for (const [trusted, fact] of [
    [{ version: 6 }, 6],
    [undefined, 'none'],
  ] as const) {
    test(`versions: offered after ${String(fact)} (T3)`, () => {
      const [told] = heard((checks) => {
        checks.verifyNotOlder(TIMESTAMP, trusted, 7);
      });
      assert.deepEqual(told?.facts, { trusted: fact, offered: 7 });
      assert.equal(told.check, 'not-older');
    });
  }

  test('hashes: which, and who lists them; none listed is nothing held (S2)', () => {
    const hashes = new Map([
      ['sha256', '00'],
      ['sha512', '11'],
    ] as const);
    const about = (listed: Listing): readonly Passed[] =>
      heard((checks) => {
        checks.verifyHashes(DELEGATED, file, listed, 'snapshot');
      });
    const facts = { listedIn: 'snapshot', hashes: 'sha256,sha512' };
    const clause = '§5.4.4.6 step 2';
    assert.deepEqual(about(listing({ hashes })), [
      { ...DELEGATED, check: 'hashes', clause, facts },
    ]);
    assert.deepEqual(about(listing()), []);
  });

  test('length: how long, and who lists it; none listed is nothing held (S1)', () => {
    const about = (listed: Listing): readonly Passed[] =>
      heard((checks) => {
        checks.verifyLength(DELEGATED, file, listed, 'snapshot');
      });
    const facts = { listedIn: 'snapshot', lengthBytes: 5 };
    const clause = '§5.4.4.6 step 1';
    const told = { ...DELEGATED, check: 'length', clause, facts };
    assert.deepEqual(about(listing({ lengthBytes: 5 })), [told]);
    assert.deepEqual(about(listing()), []);
  });

  test('the listed version (G2)', () => {
    const [told] = heard((checks) => {
      checks.verifyListedVersion(DELEGATED, file, listing());
    });
    const check = 'listed-version';
    assert.deepEqual(told, {
      ...DELEGATED,
      check,
      clause: '§5.4.4.6 step 2',
      facts: { version: 7 },
    });
  });

  test('that nothing was removed: of how many roles (S5, S6)', () => {
    const files = new Map([
      ['targets.json', listing()],
      ['a.json', listing()],
    ]);
    const snapshot: Snapshot = { ...file.body, files };
    const told = heard((checks) => {
      checks.verifySnapshotGrows('image', snapshot, snapshot);
    });
    const about = { repo: 'image', role: 'snapshot', check: 'nothing-removed' } as const;
    const clause = '§5.4.4.5 steps 5 and 6';
    assert.deepEqual(told, [{ ...about, clause, facts: { roles: 2 } }]);
  });
});

describe('a check that failed is not told (P10)', () => {
  const silent = (
    check: (checks: ReturnType<typeof watchChecks>) => unknown,
    code: string,
  ): void => {
    const ear = new Ear();
    for (const checks of [watchChecks(ear), watchChecks(undefined)]) {
      assert.throws(() => check(checks), { code });
    }
    assert.deepEqual(ear.heard, []);
  };
  const foreign: File<Common> = { ...file, hasHashes: () => false };

  test('whichever it is', () => {
    silent(
      (checks) => checks.verifyThreshold(TIMESTAMP, file, { ...authority, threshold: 3 }),
      'THRESHOLD_NOT_MET',
    );
    silent((checks) => {
      checks.verifyFresh(TIMESTAMP, file.body, EXPIRES);
    }, 'METADATA_EXPIRED');
    silent((checks) => {
      checks.verifyNotOlder(TIMESTAMP, { version: 8 }, 7);
    }, 'VERSION_ROLLBACK');
    silent((checks) => {
      checks.verifyHashes(DELEGATED, foreign, listing(), 'snapshot');
    }, 'METADATA_HASH_MISMATCH');
    silent((checks) => {
      checks.verifyLength(DELEGATED, file, listing({ lengthBytes: 4 }), 'snapshot');
    }, 'METADATA_LENGTH_MISMATCH');
    silent((checks) => {
      checks.verifyListedVersion(DELEGATED, file, listing({ version: 8 }));
    }, 'METADATA_VERSION_MISMATCH');
    const before: Snapshot = { ...file.body, files: new Map([['targets.json', listing()]]) };
    silent((checks) => {
      checks.verifySnapshotGrows('image', before, { ...before, files: new Map() });
    }, 'SNAPSHOT_ROLE_REMOVED');
  });
});
