import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { ed25519, PAST, type Body } from '../../support/build-metadata.ts';
import { World } from '../../support/uptane-world.ts';

const EXPIRED = { expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' };
const TIMESTAMP = { repo: 'director', role: 'timestamp' } as const;
const SNAPSHOT = { repo: 'director', role: 'snapshot' } as const;

let world: World;
beforeEach(() => {
  world = new World();
  world.release('fw-1.bin');
  world.release('fw-1.bin');
  world.update();
});

describe('Timestamp (§5.4.4.4)', () => {
  test('is asked for with a limit, and refused past it (T1, step 1)', () => {
    world.director.served.set('timestamp.json', Buffer.alloc(65_537, ' '));
    world.refuses('METADATA_TOO_LARGE', {
      repo: 'director',
      file: 'timestamp.json',
      maxBytes: 65_536,
    });
  });

  test("is refused without enough signatures of the newest root's keys (T2, step 2)", () => {
    world.director.keys.timestamp = [ed25519()];
    world.director.publishTimestamp();
    world.refuses('THRESHOLD_NOT_MET', { ...TIMESTAMP, valid: 0, threshold: 1 });
    assert.equal(world.device.requests.at(-1), 'director/timestamp.json');
  });

  test('is refused if signed by the keys that the newest root replaced (T2)', () => {
    const old = world.director.keys.timestamp;
    world.director.keys.timestamp = [ed25519()];
    world.director.publishRoot();
    world.director.keys.timestamp = old;
    world.director.publishTimestamp();
    world.refuses('THRESHOLD_NOT_MET', { ...TIMESTAMP, valid: 0, threshold: 1 }, [
      'director/root',
      'director/snapshot',
    ]);
  });

  test('is refused if older than the trusted one (T3, step 3)', () => {
    world.director.version.timestamp = 1;
    world.director.publishTimestamp();
    world.refuses('VERSION_ROLLBACK', { ...TIMESTAMP, trusted: 2, offered: 1 });
  });

  test('may repeat the trusted version, and is not written again if nothing changed (T3)', () => {
    assert.equal(world.update().outcome, 'up-to-date');
    assert.deepEqual(world.device.kept, []);
  });

  test('is refused if expired, and leaves nothing behind (T4, step 4)', () => {
    world.director.expires.timestamp = PAST;
    world.director.publishSnapshotAndTimestamp();
    world.refuses('METADATA_EXPIRED', { ...TIMESTAMP, ...EXPIRED });
  });

  test('that rolls the Snapshot back is refused before it is kept (T3, S4)', () => {
    world.director.version.timestamp = 7;
    world.director.version.snapshot = 1;
    world.director.publishSnapshot();
    world.director.publishTimestamp();
    world.refuses('VERSION_ROLLBACK', { ...SNAPSHOT, trusted: 2, offered: 1 });
  });

  test('has to list a hash of the Snapshot (T2, §5.2.5)', () => {
    for (const hashes of [undefined, {}, { md5: 'd41d8cd98f00b204e9800998ecf8427e' }]) {
      world.director.publishTimestamp((body) => ({
        ...body,
        meta: { 'snapshot.json': { version: 2, ...(hashes && { hashes }) } },
      }));
      world.refuses('METADATA_MALFORMED', {
        path: 'director/timestamp.signed.meta.snapshot.json.hashes',
        want: hashes === undefined ? 'an object' : 'sha256 or sha512',
      });
    }
  });
});

describe('Snapshot (§5.4.4.5)', () => {
  test('is not asked for while the Timestamp lists the one that is kept (S0)', () => {
    world.director.version.timestamp += 1;
    world.director.publishTimestamp();
    world.update();
    assert.deepEqual(world.device.requests, ['director/2.root.json', 'director/timestamp.json']);
    assert.deepEqual(world.device.kept, ['director/timestamp']);
  });

  test('is refused past the length that the Timestamp lists (S1, step 1)', () => {
    world.director.publishSnapshotAndTimestamp();
    const lengthBytes = world.director.file('snapshot.json').byteLength;
    const longer = Buffer.concat([world.director.file('snapshot.json'), Buffer.from(' ')]);
    world.director.served.set('snapshot.json', longer);
    world.refuses(
      'METADATA_TOO_LARGE',
      { repo: 'director', file: 'snapshot.json', maxBytes: lengthBytes },
      ['director/timestamp'],
    );
  });

  test('is refused if it is missing while a Timestamp lists it (S1)', () => {
    world.director.publishSnapshotAndTimestamp();
    world.director.served.delete('snapshot.json');
    world.refuses('METADATA_MISSING', { repo: 'director', file: 'snapshot.json' }, [
      'director/timestamp',
    ]);
  });

  test('is refused with another hash than the Timestamp lists (S2, step 2)', () => {
    world.director.publishSnapshotAndTimestamp();
    world.director.publishSnapshot((body) => ({ ...body, extra: '' }));
    world.director.publishTimestamp((body) => withListing(body, { length: 10_000 }));
    const good = world.director.file('timestamp.json');
    world.director.publishSnapshot();
    world.director.served.set('timestamp.json', good);
    world.refuses('METADATA_HASH_MISMATCH', { ...SNAPSHOT, listedIn: 'timestamp' }, [
      'director/timestamp',
    ]);
  });

  test('is refused with another version than the Timestamp lists (S2, step 2)', () => {
    world.director.publishSnapshotAndTimestamp();
    world.director.publishTimestamp((body) => withListing(body, { version: 9 }));
    world.refuses('METADATA_VERSION_MISMATCH', { ...SNAPSHOT, listed: 9, offered: 3 }, [
      'director/timestamp',
    ]);
  });

  test('is refused without enough signatures (S3, step 3)', () => {
    const second = ed25519();
    world.director.keys.snapshot = [...world.director.keys.snapshot, second];
    world.director.threshold.snapshot = 2;
    world.director.publishRoot();
    world.director.publishSnapshotAndTimestamp();
    world.update();
    world.director.keys.snapshot = [second];
    world.director.publishSnapshotAndTimestamp();
    world.refuses('THRESHOLD_NOT_MET', { ...SNAPSHOT, valid: 1, threshold: 2 }, [
      'director/timestamp',
    ]);
  });

  test('is refused if older than the trusted one, with everything else in order (S4, step 4)', () => {
    world.image.version.snapshot = 0;
    world.release('fw-2.bin');
    const older = { repo: 'image', role: 'snapshot', trusted: 2, offered: 1 } as const;
    world.refuses('VERSION_ROLLBACK', older, [
      'director/timestamp',
      'director/snapshot',
      'director/targets',
    ]);
  });

  test('that is older is called that, even where the Timestamp lists another version (S4)', () => {
    world.director.version.snapshot = 1;
    world.director.publishSnapshot();
    world.director.version.timestamp += 1;
    world.director.publishTimestamp((body) => withListing(body, { version: 9 }));
    world.refuses('VERSION_ROLLBACK', { ...SNAPSHOT, trusted: 2, offered: 1 }, [
      'director/timestamp',
    ]);
  });

  test('is fetched when the Timestamp lists another hash of the same version (S0)', () => {
    world.director.publishSnapshot((body) => ({ ...body, changed: true }));
    world.director.version.timestamp += 1;
    world.director.publishTimestamp();
    world.update();
    assert.deepEqual(world.device.kept, ['director/timestamp', 'director/snapshot']);
  });

  test('is refused if it lists an older version of Targets (S5, step 5)', () => {
    world.director.version.targets = 0;
    world.director.publish();
    const older = { repo: 'director', role: 'targets', trusted: 2, offered: 1 } as const;
    world.refuses('VERSION_ROLLBACK', older, ['director/timestamp']);
  });

  test('is refused if it lists an older version of a delegated role, used or not (S5, step 5)', () => {
    addSupplier(3);
    world.image.addDelegated('supplier', { keys: [ed25519()], version: 2 });
    world.release('fw-3.bin');
    const older = { repo: 'image', role: 'delegated/supplier', trusted: 3, offered: 2 } as const;
    world.refuses('VERSION_ROLLBACK', older, [
      'director/timestamp',
      'director/snapshot',
      'director/targets',
      'image/timestamp',
    ]);
  });

  test('is refused if it no longer lists a delegated role (S6, step 6)', () => {
    addSupplier(1);
    world.image.delegated.clear();
    world.release('fw-3.bin');
    const gone = { repo: 'image', role: 'delegated/supplier' } as const;
    world.refuses('SNAPSHOT_ROLE_REMOVED', gone, [
      'director/timestamp',
      'director/snapshot',
      'director/targets',
      'image/timestamp',
    ]);
  });

  test('is refused if it no longer lists Targets (S6, step 6)', () => {
    world.director.version.snapshot += 1;
    world.director.publishSnapshot((body) => ({ ...body, meta: {} }));
    world.director.version.timestamp += 1;
    world.director.publishTimestamp();
    world.refuses('SNAPSHOT_ROLE_REMOVED', { repo: 'director', role: 'targets' }, [
      'director/timestamp',
    ]);
  });

  test('need not go on listing Root, whose own chain protects it (S6)', () => {
    world.director.version.snapshot += 1;
    world.director.publishSnapshot((body) => {
      const { 'targets.json': targets } = body['meta'] as Body;
      return { ...body, meta: { 'targets.json': targets } };
    });
    world.director.version.timestamp += 1;
    world.director.publishTimestamp();
    assert.equal(world.update().outcome, 'up-to-date');
  });

  test('is refused if expired, and leaves nothing behind (S7, step 7)', () => {
    world.director.expires.snapshot = PAST;
    world.director.publishSnapshotAndTimestamp();
    world.refuses('METADATA_EXPIRED', { ...SNAPSHOT, ...EXPIRED }, ['director/timestamp']);
  });

  test('that expired while it was kept is refused too: it is still what is in force (S7)', () => {
    const soon = '2026-12-01T00:00:00Z';
    world.director.expires.snapshot = soon;
    world.director.publishSnapshotAndTimestamp();
    world.update();
    world.device.now = (Date.parse(soon) + 1) as typeof world.device.now;
    world.refuses('METADATA_EXPIRED', {
      ...SNAPSHOT,
      expiresAt: soon,
      nowAt: soon,
    });
  });

  function addSupplier(version: number): void {
    world.image.addDelegated('supplier', { keys: [ed25519()], version });
    world.release('fw-2.bin');
    world.update();
  }
});

function withListing(body: Body, changes: Body): Body {
  const { 'snapshot.json': listing } = body['meta'] as Body;
  return { ...body, meta: { 'snapshot.json': { ...(listing as Body), ...changes } } };
}
