/**
 * What the field's reference client gets wrong, as scenarios of two cycles.
 *
 * Each was run against aktualizr e5118a748; the title says what happened there.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import {
  ed25519,
  FUTURE,
  hashesOf,
  PAST,
  type Body,
  type DelegationSpec,
} from '../support/build-metadata.ts';
import { imageTarget, PRIMARY, World } from '../support/uptane-world.ts';

const DIRECTOR = ['director/timestamp', 'director/snapshot', 'director/targets'];
let world: World;
beforeEach(() => {
  world = new World();
  for (let version = 0; version < 10; version += 1) world.image.publish();
  world.release('fw-1.bin');
  world.update();
});

describe('controls: what a correct client accepts', () => {
  test('an update, and the next one', () => {
    world.release('fw-2.bin');
    assert.equal(world.update().targets[0]?.filename, 'fw-2.bin');
  });

  test('an image that a delegated role signs for (D1, D2)', () => {
    const filename = 'abc/fw.bin';
    const keys = [ed25519()];
    const targets = { [filename]: imageTarget(filename, [PRIMARY]) };
    world.image.addDelegated('supplier', { keys, targets });
    world.image.delegations = [{ name: 'supplier', keys, paths: ['abc/*'] }];
    world.assign(filename);
    world.publish();
    assert.equal(world.update().targets[0]?.filename, filename);
    assert.ok(world.device.trusted.has('image/delegated/supplier'));
  });

  test('an expired second root that a third one follows (R6)', () => {
    world.director.expires.root = PAST;
    world.director.publishRoot();
    world.director.expires.root = FUTURE;
    world.director.publishRoot();
    world.release('fw-2.bin');
    assert.equal(world.update().outcome, 'update');
  });

  test('recovery from a fast-forward attack after the keys were rotated (R7)', () => {
    Object.assign(world.image.version, { timestamp: 1e15, snapshot: 1e15 });
    world.release('fw-2.bin');
    world.update();
    Object.assign(world.image.keys, { timestamp: [ed25519()], snapshot: [ed25519()] });
    Object.assign(world.image.version, { timestamp: 20, snapshot: 20 });
    world.image.publishRoot();
    world.release('fw-3.bin');
    assert.equal(world.update().outcome, 'update');
  });

  test('unknown fields in every file', () => {
    const later = (body: Body): Body => ({ ...body, 'x-later': { n: [1, 'ü'] } });
    world.release('fw-2.bin');
    world.image.publishTargets(later);
    world.image.publishSnapshot(later);
    world.image.publishTimestamp(later);
    world.image.publishRoot(later);
    assert.equal(world.update().outcome, 'update');
  });
});

describe('rollback', () => {
  test('a new Timestamp over an older, valid Snapshot (S4); the reference client installs', () => {
    const old = world.image.file('snapshot.json');
    world.release('fw-2.bin');
    world.update();
    world.image.version.snapshot = 11;
    world.image.served.set('snapshot.json', old);
    world.image.version.timestamp += 1;
    world.image.publishTimestamp();
    world.assign('fw-1.bin');
    world.director.publish();
    const older = { repo: 'image', role: 'snapshot', trusted: 12, offered: 11 } as const;
    world.refuses('VERSION_ROLLBACK', older, DIRECTOR);
  });

  test('a new Snapshot that lists older Targets (S5); the reference client installs', () => {
    world.image.version.targets = 4;
    world.release('fw-2.bin');
    const older = { repo: 'image', role: 'targets', trusted: 11, offered: 5 } as const;
    world.refuses('VERSION_ROLLBACK', older, [...DIRECTOR, 'image/timestamp']);
  });

  test('everything but the Timestamp goes back (S4); the reference client installs', () => {
    Object.assign(world.image.version, { snapshot: 2, targets: 2 });
    world.release('fw-2.bin');
    const older = { repo: 'image', role: 'snapshot', trusted: 11, offered: 3 } as const;
    world.refuses('VERSION_ROLLBACK', older, DIRECTOR);
  });

  test('the Timestamp goes back (T3)', () => {
    world.image.version.timestamp = 3;
    world.release('fw-2.bin');
    const older = { repo: 'image', role: 'timestamp', trusted: 11, offered: 4 } as const;
    world.refuses('VERSION_ROLLBACK', older, DIRECTOR);
  });

  test("the Director's Targets go back (S5, G4), whether or not it serves a Snapshot", () => {
    const older = { repo: 'director', role: 'targets', trusted: 3, offered: 1 } as const;
    world.release('fw-2.bin');
    world.release('fw-3.bin');
    world.update();
    world.director.version.targets = 0;
    world.publish();
    world.refuses('VERSION_ROLLBACK', older, ['director/timestamp']);

    const bare = new World();
    for (const filename of ['fw-1.bin', 'fw-2.bin', 'fw-3.bin']) bare.release(filename);
    bare.withoutDirectorTimestamp();
    bare.update();
    bare.director.version.targets = 1;
    bare.director.publishTargets();
    bare.refuses('VERSION_ROLLBACK', older);
  });

  test('a delegated role goes back (S5)', () => {
    const keys = [ed25519()];
    world.image.addDelegated('supplier', { keys, version: 2 });
    world.release('fw-2.bin');
    world.update();
    world.image.addDelegated('supplier', { keys, version: 1 });
    world.release('fw-3.bin');
    const older = { repo: 'image', role: 'delegated/supplier', trusted: 2, offered: 1 } as const;
    world.refuses('VERSION_ROLLBACK', older, [...DIRECTOR, 'image/timestamp']);
  });

  test('the top-level Targets disappear from the Snapshot (S6)', () => {
    world.release('fw-2.bin');
    world.image.publishSnapshot((body) => ({ ...body, meta: { 'root.json': { version: 1 } } }));
    world.image.publishTimestamp();
    world.refuses('SNAPSHOT_ROLE_REMOVED', { repo: 'image', role: 'targets' }, [
      ...DIRECTOR,
      'image/timestamp',
    ]);
  });

  test('a delegated role disappears from the Snapshot (S6)', () => {
    world.image.addDelegated('supplier', { keys: [ed25519()] });
    world.release('fw-2.bin');
    world.update();
    world.image.delegated.clear();
    world.release('fw-3.bin');
    world.refuses('SNAPSHOT_ROLE_REMOVED', { repo: 'image', role: 'delegated/supplier' }, [
      ...DIRECTOR,
      'image/timestamp',
    ]);
  });

  test('a release counter goes down (M4); the reference client installs', () => {
    world.release('fw-9.bin', [PRIMARY], { releaseCounter: 9 });
    world.update();
    world.release('fw-8.bin', [PRIMARY], { releaseCounter: 8 });
    world.refuses(
      'RELEASE_COUNTER_ROLLBACK',
      { ecu: 'primary-1', filename: 'fw-8.bin', trusted: 9, offered: 8 },
      [...DIRECTOR, 'image/timestamp', 'image/snapshot', 'image/targets'],
    );
  });
});

describe('arbitrary software', () => {
  test('a sibling of a terminating delegation (D3); the reference client installs', () => {
    const filename = 'abc/fw.bin';
    const role = (name: string, terminating: boolean): DelegationSpec => {
      const keys = [ed25519()];
      const targets = terminating ? {} : { [filename]: imageTarget(filename, [PRIMARY]) };
      world.image.addDelegated(name, { keys, targets });
      return { name, keys, paths: ['abc/*'], terminating };
    };
    world.image.delegations = [role('terminating', true), role('sibling', false)];
    world.assign(filename);
    world.publish();
    world.refuses('TARGET_NOT_IN_IMAGE_REPO', { filename, searched: 'targets,terminating' }, [
      ...DIRECTOR,
      'image/timestamp',
      'image/snapshot',
      'image/targets',
      'image/delegated/terminating',
    ]);
  });

  test('one key under two ids reaches a threshold of two (R3, G3); the reference client installs', () => {
    const key = ed25519();
    world.image.keys.targets = [key, { ...key, id: 'the-same-again' }];
    world.image.threshold.targets = 2;
    world.image.publishRoot();
    world.release('fw-2.bin');
    world.refuses('THRESHOLD_NOT_MET', { repo: 'image', role: 'targets', valid: 1, threshold: 2 }, [
      ...DIRECTOR,
      'image/root',
      'image/timestamp',
      'image/snapshot',
    ]);
  });

  test('an oversized second root hides a rotation (R2); the reference client installs', () => {
    const revoked = world.director.keys.targets;
    world.director.keys.targets = [ed25519()];
    world.director.publishRoot((body) => ({ ...body, padding: 'x'.repeat(70_000) }));
    world.director.keys.targets = revoked;
    world.release('fw-2.bin');
    world.refuses('METADATA_TOO_LARGE', {
      repo: 'director',
      file: '2.root.json',
      maxBytes: 65_536,
    });
  });

  test('a malformed second root hides a rotation (R2)', () => {
    world.director.publishRoot();
    world.director.served.set('2.root.json', Buffer.from('{"signatures":[],"signed":'));
    world.release('fw-2.bin');
    world.refuses('METADATA_MALFORMED', { path: 'director/root@26', want: 'a JSON value' });
  });

  test('a filename that climbs out of its directory (V4); the reference client leaves it to curl', () => {
    const filename = '../../../../evil.bin';
    world.assign(filename);
    world.image.targets[filename] = imageTarget(filename, [PRIMARY]);
    world.publish();
    world.refuses('TARGET_NAME_UNSAFE', { filename, problem: 'a relative segment' }, [
      'director/timestamp',
      'director/snapshot',
    ]);
  });

  test('an ECU that this vehicle does not have (G8)', () => {
    world.assign('fw-2.bin', [{ serial: 'stranger', hardwareId: 'hw-primary' }]);
    world.publish();
    world.refuses('ECU_UNKNOWN', { ecu: 'stranger', filename: 'fw-2.bin' }, [
      'director/timestamp',
      'director/snapshot',
    ]);
  });

  test('the repositories disagree about one of two hashes (M2)', () => {
    world.release('fw-2.bin');
    const { sha512 } = hashesOf('evil');
    const hashes = { ...hashesOf('fw-2.bin'), sha512 };
    world.image.targets['fw-2.bin'] = { ...imageTarget('fw-2.bin', [PRIMARY]), hashes };
    world.publish();
    world.refuses(
      'TARGET_MISMATCH',
      {
        filename: 'fw-2.bin',
        field: 'sha512',
        director: hashesOf('fw-2.bin').sha512,
        image: sha512,
      },
      [...DIRECTOR, 'image/timestamp', 'image/snapshot', 'image/targets'],
    );
  });

  test('a name given twice, which every reader may take for another (G3)', () => {
    world.release('fw-2.bin');
    const text = Buffer.from(world.director.file('targets.json')).toString();
    const twice = text.replace('"version":', '"version":1,"version":');
    world.director.served.set('targets.json', Buffer.from(twice));
    const at = twice.indexOf('"version":', twice.indexOf('"version":') + 1);
    world.refuses(
      'METADATA_MALFORMED',
      { path: `director/targets@${String(at)}`, want: 'each name once' },
      ['director/timestamp', 'director/snapshot'],
    );
  });
});

describe('recovery', () => {
  test('from an expired Timestamp in version 100, with a valid 12 (T4, P9); the reference client is stuck', () => {
    world.image.version.timestamp = 99;
    world.image.expires.timestamp = PAST;
    world.release('fw-2.bin');
    world.refuses(
      'METADATA_EXPIRED',
      { repo: 'image', role: 'timestamp', expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' },
      DIRECTOR,
    );
    world.image.version.timestamp = 11;
    world.image.expires.timestamp = FUTURE;
    world.image.publishSnapshotAndTimestamp();
    assert.equal(world.update().outcome, 'update');
  });

  test('from expired Director Targets in version 100, with a valid 2 (G5, P9); the reference client is stuck', () => {
    const bare = new World();
    bare.release('fw-1.bin');
    bare.director.version.targets = 100;
    bare.director.expires.targets = PAST;
    bare.director.publishTargets();
    bare.withoutDirectorTimestamp();
    bare.refuses('METADATA_EXPIRED', {
      repo: 'director',
      role: 'targets',
      expiresAt: PAST,
      nowAt: '2026-11-21T00:00:00Z',
    });
    bare.director.version.targets = 2;
    bare.director.expires.targets = FUTURE;
    bare.director.publishTargets();
    assert.equal(bare.update().outcome, 'update');
  });
});

describe('tolerance', () => {
  test('a key of an unknown type in the root that no role needs (R8); the reference client refuses', () => {
    world.director.unusedKeys = { x: { keytype: 'ECPRIME256V1', keyval: { public: '30' } } };
    world.director.publishRoot();
    world.release('fw-2.bin');
    assert.equal(world.update().outcome, 'update');
  });

  test('an expiry with a fraction of a second (T4); the reference client refuses', () => {
    world.image.expires.timestamp = '2037-12-31T23:59:59.000Z';
    world.release('fw-2.bin');
    assert.equal(world.update().outcome, 'update');
  });
});
