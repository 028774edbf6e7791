import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  issueSet,
  levelDue,
  type Content,
  type IssuedSet,
  type Issuer,
} from '../../director/metadata/metadata-set.ts';
import {
  createRootOfTrust,
  rotateKeys,
  type RootOfTrust,
} from '../../director/metadata/repository-keys.ts';
import { generateKey } from '../../director/signing.ts';
import { examine, payload, version } from './examine.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');
const HOUR_MS = 3_600_000;
const TRUST = createRootOfTrust('ed25519', '2036-01-01T00:00:00Z');
const VALIDITY = { root: 1e8, targets: 48 * 3600, snapshot: 24 * 3600, timestamp: 12 * 3600 };
const SUPPLIER = generateKey('ed25519');
const CONTENT: Content = {
  targets: { targets: {} },
  delegated: [{ name: 'supplier', targets: { targets: {} }, keys: [SUPPLIER] }],
  rootVersion: 1,
};

function issuer(fields: Partial<Issuer> = {}): Issuer {
  return {
    keys: TRUST.keys,
    dialect: TRUST.dialect,
    validity: VALIDITY,
    nowMs: NOW,
    floor: 0,
    ...fields,
  };
}

function problems(issued: IssuedSet, trust: RootOfTrust = TRUST, nowMs = NOW): readonly string[] {
  return examine({ roots: trust.roots, set: issued.current }, nowMs);
}

describe('a signed metadata set', () => {
  const first = issueSet(undefined, CONTENT, issuer(), 'targets');

  test('is complete and consistent from the start', () => {
    assert.deepEqual(problems(first), []);
    assert.deepEqual(first.versions, {
      targets: 1,
      snapshot: 1,
      timestamp: 1,
      delegations: { supplier: 1 },
    });
    const meta = payload(first.current.snapshot)['meta'];
    assert.deepEqual(Object.keys(meta as object).sort(), [
      'root.json',
      'supplier.json',
      'targets.json',
    ]);
  });

  test('is good as it is until something changes or a quarter of its validity is left', () => {
    assert.equal(levelDue(first, CONTENT, issuer()), undefined);
    const after = (hours: number): Issuer => issuer({ nowMs: NOW + hours * HOUR_MS });
    assert.equal(levelDue(first, CONTENT, after(8.9)), undefined);
    assert.equal(levelDue(first, CONTENT, after(9)), 'timestamp');
    assert.equal(levelDue(first, CONTENT, after(18)), 'snapshot');
    assert.equal(levelDue(first, CONTENT, after(36)), 'targets');
  });

  test('renews only what is due, with a higher version', () => {
    const later = issuer({ nowMs: NOW + 9 * HOUR_MS });
    const renewed = issueSet(first, CONTENT, later, 'timestamp');
    assert.equal(renewed.current.targets, first.current.targets);
    assert.equal(renewed.current.snapshot, first.current.snapshot);
    assert.equal(version(renewed.current.timestamp), 2);
    assert.equal(payload(renewed.current.timestamp)['expires'], '2026-01-01T21:00:00Z');
    assert.deepEqual(problems(renewed), []);
    assert.equal(renewed.dueAt.snapshot, first.dueAt.snapshot);
  });

  test('is signed anew from the targets on when content, keys or validity change', () => {
    const content = { ...CONTENT, targets: { targets: { fw: { length: 1 } } } };
    assert.equal(levelDue(first, content, issuer()), 'targets');
    assert.equal(
      levelDue(first, CONTENT, issuer({ validity: { ...VALIDITY, targets: 1 } })),
      'targets',
    );
    const rotation = { role: 'targets', keyType: 'ed25519', keyCount: 1, threshold: 1 } as const;
    const { keys } = rotateKeys(TRUST, rotation, '2036-01-01T00:00:00Z');
    assert.equal(levelDue(first, CONTENT, issuer({ keys })), 'targets');
  });

  test('lists a new root from the snapshot on', () => {
    assert.equal(levelDue(first, { ...CONTENT, rootVersion: 2 }, issuer()), 'snapshot');
  });

  test('passes every version that a fault has sent, in every file', () => {
    assert.equal(levelDue(first, CONTENT, issuer({ floor: 1 })), 'targets');
    const passed = issueSet(first, CONTENT, issuer({ floor: 41 }), 'targets');
    assert.deepEqual(passed.versions, {
      targets: 42,
      snapshot: 42,
      timestamp: 42,
      delegations: { supplier: 42 },
    });
    assert.equal(levelDue(passed, CONTENT, issuer({ floor: 41 })), undefined);
  });

  test('remembers the set before, for faults that roll back', () => {
    const content = { ...CONTENT, targets: { targets: { fw: { length: 1 } } } };
    const second = issueSet(first, content, issuer(), 'targets');
    assert.deepEqual(second.previous, first.current);
    assert.equal(second.previousTargets, first.current.targets);
    const third = issueSet(second, content, issuer(), 'timestamp');
    assert.deepEqual(third.previous, first.current);
    const fourth = issueSet(third, content, issuer(), 'snapshot');
    assert.deepEqual(fourth.previous, third.current);
    assert.equal(fourth.previousTargets, first.current.targets);
  });
});

describe('the root chain (§5.4.4.3)', () => {
  test('is signed by the old and the new keys when root keys change', () => {
    const rotation = { role: 'root', keyType: 'rsa-2048', keyCount: 2, threshold: 2 } as const;
    const rotated = rotateKeys(TRUST, rotation, '2036-01-01T00:00:00Z');
    const issued = issueSet(undefined, { ...CONTENT, rootVersion: 2 }, issuer(rotated), 'targets');
    assert.deepEqual(problems(issued, rotated), []);
    assert.equal(rotated.roots[0], TRUST.roots[0]);
    assert.equal(version(rotated.roots[1] ?? ''), 2);
    const roles = payload(rotated.roots[1] ?? '')['roles'] as { root: { keyids: string[] } };
    assert.equal(roles.root.keyids.length, 2);
  });

  for (const role of ['targets', 'snapshot', 'timestamp'] as const) {
    test(`revokes the old ${role} key`, () => {
      const rotation = { role, keyType: 'ed25519', keyCount: 1, threshold: 1 } as const;
      const rotated = rotateKeys(TRUST, rotation, '2036-01-01T00:00:00Z');
      const old = issueSet(undefined, CONTENT, issuer(), 'targets');
      assert.deepEqual(problems(old, rotated), [`${role} signature`]);
      const renewed = issueSet(old, { ...CONTENT, rootVersion: 2 }, issuer(rotated), 'targets');
      assert.deepEqual(problems(renewed, rotated), []);
    });
  }
});
