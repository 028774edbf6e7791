import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { isMap, type JsonMap } from '../../director/json/canonical-json.ts';
import { FAULTS, rowOf, type FaultName } from '../../director/faults.ts';
import { forgeMetadata, type Repo, type Served } from '../../director/faults/forgery.ts';
import type { Parameters } from '../../director/faults/row.ts';
import { issueSet, type Content, type IssuedSet } from '../../director/metadata/metadata-set.ts';
import { createRootOfTrust } from '../../director/metadata/repository-keys.ts';
import { examine, payload, version } from './examine.ts';

const NOW = Date.now();
const VALIDITY = { root: 1e8, targets: 1e7, snapshot: 1e7, timestamp: 1e7 };
const TRUST = createRootOfTrust('rsa-2048', '2036-01-01T00:00:00Z');
const OLD_TRUST_HASHES = { sha256: '1'.repeat(64), sha512: '2'.repeat(128) };

function target(serials: readonly string[]): JsonMap {
  const ecus = serials.map((serial) => [serial, { hardwareId: 'hw' }] as const);
  const custom = { ecuIdentifiers: Object.fromEntries(ecus), targetFormat: 'BINARY' };
  return { custom, hashes: OLD_TRUST_HASHES, length: 3 };
}

function content(filename: string): Content {
  const custom = { vehicleId: 'device-1' };
  return {
    targets: { custom, targets: { [filename]: target(['e-1', 'e-2']) } },
    delegated: [],
    rootVersion: 1,
  };
}

const ISSUER = {
  keys: TRUST.keys,
  dialect: TRUST.dialect,
  validity: VALIDITY,
  nowMs: NOW,
  floor: 0,
};
const FIRST = issueSet(undefined, content('fw-1'), ISSUER, 'targets');
const ISSUED: IssuedSet = issueSet(FIRST, content('fw-2'), ISSUER, 'targets');
const HONEST: Served = { roots: TRUST.roots, set: ISSUED.current };

function forged(name: FaultName, repo: Repo = 'image', parameters: Parameters = {}): Served {
  const all = { ...rowOf(name).parameters, ...parameters };
  const forge = {
    repo,
    trust: TRUST,
    issued: ISSUED,
    keyType: 'ed25519',
    parameters: all,
  } as const;
  return forgeMetadata(name, HONEST, forge);
}

function targetsOf({ set }: Served): JsonMap {
  return payload(set.targets)['targets'] as JsonMap;
}

function ecusOf(served: Served, filename: string): JsonMap {
  const entry = targetsOf(served)[filename];
  const custom = isMap(entry) ? entry['custom'] : undefined;
  return (isMap(custom) ? custom['ecuIdentifiers'] : undefined) as JsonMap;
}

function versions({ set }: Served): readonly number[] {
  return [version(set.targets), version(set.snapshot), version(set.timestamp)];
}

describe('forged metadata', () => {
  test('starts from an honest set without a fault', () => {
    assert.deepEqual(examine(HONEST, NOW), []);
    assert.deepEqual(versions(HONEST), [2, 2, 2]);
  });

  for (const name of ['timestamp-rollback', 'director-timestamp-rollback'] as const) {
    test(`${name}: nothing is wrong but the version of the timestamp (§5.4.4.4)`, () => {
      const served = forged(name);
      assert.deepEqual(examine(served, NOW), []);
      assert.deepEqual(versions(served), [2, 2, 1]);
    });
  }

  for (const name of ['snapshot-rollback', 'director-snapshot-rollback'] as const) {
    test(`${name}: the previous snapshot and targets, under a newer timestamp (§5.4.4.5)`, () => {
      const served = forged(name);
      assert.deepEqual(examine(served, NOW), []);
      assert.deepEqual(versions(served), [1, 1, 3]);
      assert.deepEqual(Object.keys(targetsOf(served)), ['fw-1']);
    });
  }

  for (const [prefix, file, expected] of [
    ['', 'snapshot', [2, 2, 3]],
    ['director-', 'snapshot', [2, 2, 3]],
    ['', 'targets', [2, 3, 3]],
    ['director-', 'targets', [2, 3, 3]],
  ] as const) {
    test(`${prefix}mixed-${file}: newer files above the ${file} from before (§5.4.4.5, §5.4.4.6)`, () => {
      const served = forged(`${prefix}mixed-${file}`);
      assert.equal(served.set[file].trimEnd(), HONEST.set[file]);
      assert.deepEqual(examine(served, NOW), [`${file}.json hash`, `${file}.json version`]);
      assert.deepEqual(versions(served), expected);
    });
  }

  for (const name of ['targets-rollback', 'director-targets-rollback'] as const) {
    test(`${name}: the previous targets, under newer snapshot and timestamp (§5.4.4.6)`, () => {
      const served = forged(name);
      assert.deepEqual(examine(served, NOW), []);
      assert.deepEqual(versions(served), [1, 3, 3]);
      assert.deepEqual(Object.keys(targetsOf(served)), ['fw-1']);
    });
  }

  for (const [name, level] of [
    ['expired-timestamp', 'timestamp'],
    ['director-expired-timestamp', 'timestamp'],
    ['expired-snapshot', 'snapshot'],
    ['director-expired-snapshot', 'snapshot'],
    ['expired-targets', 'targets'],
    ['director-expired-targets', 'targets'],
  ] as const) {
    test(`${name}: nothing is wrong but the date of the ${level}`, () => {
      assert.deepEqual(examine(forged(name), NOW), [`${level} expired`]);
    });
  }

  test('wrong-hardware-id: every ECU, and nothing else', () => {
    const served = forged('wrong-hardware-id', 'director', { hardwareId: 'toaster' });
    assert.deepEqual(examine(served, NOW), []);
    const wrong = { hardwareId: 'toaster' };
    assert.deepEqual(ecusOf(served, 'fw-2'), { 'e-1': wrong, 'e-2': wrong });
  });

  test('unknown-ecu: one ECU more, and nothing else', () => {
    const served = forged('unknown-ecu', 'director', { serial: 'stranger' });
    assert.deepEqual(examine(served, NOW), []);
    assert.deepEqual(Object.keys(ecusOf(served, 'fw-2')), ['e-1', 'e-2', 'stranger']);
  });

  test('director-repeats-ecu: a second image for every ECU (§5.4.4.6 step 7)', () => {
    const served = forged('director-repeats-ecu', 'director');
    assert.deepEqual(examine(served, NOW), []);
    assert.deepEqual(ecusOf(served, 'again-fw-2'), ecusOf(served, 'fw-2'));
  });

  test('director-delegates: a delegation where there may be none (§5.4.4.6 step 6)', () => {
    const served = forged('director-delegates', 'director');
    assert.deepEqual(examine(served, NOW), []);
    const { delegations } = payload(served.set.targets);
    assert.equal((delegations as { roles: unknown[] }).roles.length, 1);
  });

  test('wrong-vehicle-id: the metadata of another device', () => {
    const served = forged('wrong-vehicle-id', 'director');
    assert.deepEqual(examine(served, NOW), []);
    assert.deepEqual(payload(served.set.targets)['custom'], { vehicleId: 'another-device' });
    assert.deepEqual(targetsOf(served), {});
  });

  test('image-hash-mismatch: other hashes, well-formed and signed', () => {
    const served = forged('image-hash-mismatch', 'director');
    assert.deepEqual(examine(served, NOW), []);
    const entry = targetsOf(served)['fw-2'] as { hashes: Record<string, string> };
    assert.match(entry.hashes['sha256'] ?? '', /^[0-9a-f]{64}$/u);
    assert.notDeepEqual(entry.hashes, OLD_TRUST_HASHES);
  });

  test('signature-invalid: every signature, or that of one role, or of one repository', () => {
    const all = ['timestamp signature', 'snapshot signature', 'targets signature'];
    assert.deepEqual(examine(forged('signature-invalid'), NOW), all);
    for (const role of ['timestamp', 'snapshot', 'targets']) {
      const served = forged('signature-invalid', 'image', { role });
      assert.deepEqual(examine(served, NOW), [`${role} signature`]);
    }
    assert.equal(forged('signature-invalid', 'image', { repo: 'director' }), HONEST);
  });

  for (const [name, prefix] of [
    ['image-unlisted', 'unlisted-'],
    ['unsafe-filename', '../'],
  ] as const) {
    test(`${name}: other names, and nothing else`, () => {
      const served = forged(name, 'director');
      assert.deepEqual(examine(served, NOW), []);
      const { 'fw-2': entry } = targetsOf(HONEST);
      assert.deepEqual(targetsOf(served), { [`${prefix}fw-2`]: entry });
    });
  }

  test('wrong-type: a good snapshot that says it is targets', () => {
    const served = forged('wrong-type', 'image', { repo: 'image' });
    assert.deepEqual(examine(served, NOW), []);
    assert.equal(payload(served.set.snapshot)['_type'], 'Targets');
    assert.equal(forged('wrong-type', 'director', { repo: 'image' }), HONEST);
  });

  test('snapshot-drops-file: nothing else is gone (§5.4.4.5 step 6)', () => {
    const { set } = forged('snapshot-drops-file');
    const { 'targets.json': gone, ...left } = payload(HONEST.set.snapshot)['meta'] as JsonMap;
    assert.ok(gone);
    assert.deepEqual(payload(set.snapshot)['meta'], left);
    assert.equal(forged('snapshot-drops-file', 'image', { repo: 'director' }), HONEST);
  });

  test('root-repeated: the newest root once more (§5.4.4.3)', () => {
    const { roots, set } = forged('root-repeated');
    assert.deepEqual(roots, [...HONEST.roots, HONEST.roots[0]]);
    assert.deepEqual(set, HONEST.set);
    assert.equal(forged('root-repeated', 'image', { repo: 'director' }), HONEST);
  });

  test('root-not-signed-by-old: one more root, signed by itself only (§5.4.4.3)', () => {
    const served = forged('root-not-signed-by-old', 'director', { repo: 'director' });
    assert.deepEqual(examine(served, NOW), ['root 2 signature']);
    assert.deepEqual(served.set, HONEST.set);
    assert.equal(forged('root-not-signed-by-old', 'image', { repo: 'director' }), HONEST);
  });

  test('leaves the honest set alone, and does nothing for faults of other stages', () => {
    const before = JSON.stringify(HONEST);
    const isMetadata = (name: FaultName): boolean =>
      rowOf(name).stages.some(
        (stage) => stage === 'image-metadata' || stage === 'director-metadata',
      );
    for (const name of Object.keys(FAULTS) as FaultName[]) {
      assert.equal(forged(name) !== HONEST, isMetadata(name), name);
    }
    assert.equal(JSON.stringify(HONEST), before);
  });
});
