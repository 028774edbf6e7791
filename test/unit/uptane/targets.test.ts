import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { ed25519, PAST } from '../../support/build-metadata.ts';
import { imageTarget, PRIMARY, World } from '../../support/uptane-world.ts';

const EXPIRED = { expiresAt: PAST, nowAt: '2026-11-21T00:00:00Z' };
const DIRECTOR = ['director/timestamp', 'director/snapshot'];
const UP_TO_IMAGE_SNAPSHOT = [...DIRECTOR, 'director/targets', 'image/timestamp', 'image/snapshot'];
const OF_DIRECTOR = { repo: 'director', role: 'targets' } as const;
const OF_IMAGE = { repo: 'image', role: 'targets' } as const;

let world: World;
beforeEach(() => {
  world = new World();
  world.release('fw-1.bin');
  world.release('fw-1.bin');
  world.update();
});

describe('Targets of the Director (§5.4.4.6)', () => {
  test('are refused past 64 KiB (G1, step 1)', () => {
    world.director.publish();
    world.director.served.set('targets.json', Buffer.alloc(65_537, ' '));
    world.refuses(
      'METADATA_TOO_LARGE',
      { repo: 'director', file: 'targets.json', maxBytes: 65_536 },
      DIRECTOR,
    );
  });

  test('are refused with another version than the Snapshot lists (G2, step 2)', () => {
    world.director.publish();
    world.director.version.targets = 9;
    world.director.publishTargets();
    world.refuses('METADATA_VERSION_MISMATCH', { ...OF_DIRECTOR, listed: 3, offered: 9 }, DIRECTOR);
  });

  test('may have signatures added without a new Snapshot: only the version binds (G2, §5.2.4)', () => {
    world.assign('fw-2.bin');
    world.image.targets['fw-2.bin'] = imageTarget('fw-2.bin', [PRIMARY]);
    world.publish();
    world.director.keys.targets = [...world.director.keys.targets, ed25519()];
    world.director.publishTargets();
    assert.equal(world.update().outcome, 'update');
  });

  test('are refused without enough signatures (G3, step 3)', () => {
    world.director.keys.targets = [ed25519()];
    world.director.publish();
    world.refuses('THRESHOLD_NOT_MET', { ...OF_DIRECTOR, valid: 0, threshold: 1 }, DIRECTOR);
    assert.equal(world.device.requests.at(-1), 'director/targets.json');
  });

  test('are refused if older than the trusted ones, where no Snapshot says so (G4, step 4)', () => {
    const bare = new World();
    bare.release('fw-1.bin');
    bare.release('fw-1.bin');
    bare.withoutDirectorTimestamp();
    bare.update();
    bare.director.version.targets = 1;
    bare.director.publishTargets();
    bare.refuses('VERSION_ROLLBACK', { ...OF_DIRECTOR, trusted: 2, offered: 1 });
  });

  test('are refused if expired, and leave nothing behind (G5, step 5)', () => {
    world.director.expires.targets = PAST;
    world.director.publish();
    world.refuses('METADATA_EXPIRED', { ...OF_DIRECTOR, ...EXPIRED }, DIRECTOR);
  });

  test('that are kept stop counting when the newest root has other keys (G3)', () => {
    world.director.keys.targets = [ed25519()];
    world.director.publishRoot();
    const unsigned = { ...OF_DIRECTOR, valid: 0, threshold: 1 };
    world.refuses('THRESHOLD_NOT_MET', unsigned, ['director/root']);
    world.director.publishTargets();
    world.update();
    assert.deepEqual(world.device.kept, ['director/targets']);
  });
});

describe('top-level Targets of the Image repository (§5.4.4.6)', () => {
  test('are refused past the length that the Snapshot lists (G1, step 1)', () => {
    world.release('fw-2.bin');
    const lengthBytes = world.image.file('targets.json').byteLength;
    const longer = Buffer.concat([world.image.file('targets.json'), Buffer.from('\n')]);
    world.image.served.set('targets.json', longer);
    world.refuses(
      'METADATA_TOO_LARGE',
      { repo: 'image', file: 'targets.json', maxBytes: lengthBytes },
      UP_TO_IMAGE_SNAPSHOT,
    );
  });

  test('are refused past 8 MiB, whatever the Snapshot lists (G1, step 1)', () => {
    world.release('fw-2.bin');
    world.image.served.set('targets.json', Buffer.alloc(8 * 1024 * 1024 + 1, ' '));
    world.image.publishSnapshotAndTimestamp();
    world.refuses(
      'METADATA_TOO_LARGE',
      { repo: 'image', file: 'targets.json', maxBytes: 8 * 1024 * 1024 },
      UP_TO_IMAGE_SNAPSHOT,
    );
  });

  test('are refused with another hash than the Snapshot lists (G2, step 2)', () => {
    world.release('fw-2.bin');
    world.image.targets['fw-2.bin'] = imageTarget('fw-3.bin', [PRIMARY]);
    world.image.publishTargets();
    const details = { ...OF_IMAGE, listedIn: 'snapshot' } as const;
    world.refuses('METADATA_HASH_MISMATCH', details, UP_TO_IMAGE_SNAPSHOT);
  });

  test('are refused with another version than the Snapshot lists (G2, step 2)', () => {
    world.release('fw-2.bin');
    world.image.publishSnapshot((body) => ({ ...body, meta: { 'targets.json': { version: 9 } } }));
    world.image.publishTimestamp();
    const details = { ...OF_IMAGE, listed: 9, offered: 3 } as const;
    world.refuses('METADATA_VERSION_MISMATCH', details, UP_TO_IMAGE_SNAPSHOT);
  });

  test('are refused without enough signatures (G3, step 3)', () => {
    world.image.keys.targets = [ed25519()];
    world.release('fw-2.bin');
    const details = { ...OF_IMAGE, valid: 0, threshold: 1 } as const;
    world.refuses('THRESHOLD_NOT_MET', details, UP_TO_IMAGE_SNAPSHOT);
  });

  test('are refused if older than the trusted ones, even where the Snapshot was forgotten (G4, R7)', () => {
    world.image.keys.snapshot = [ed25519()];
    world.image.keys.timestamp = [ed25519()];
    world.image.publishRoot();
    world.image.version.targets = 0;
    world.release('fw-2.bin');
    const older = { ...OF_IMAGE, trusted: 2, offered: 1 } as const;
    world.refuses('VERSION_ROLLBACK', older, [
      ...DIRECTOR,
      'director/targets',
      'image/root',
      'image/snapshot',
      'image/timestamp',
      'image/snapshot',
    ]);
  });

  test('are refused if expired, and leave nothing behind (G5, step 5)', () => {
    world.image.expires.targets = PAST;
    world.release('fw-2.bin');
    world.refuses('METADATA_EXPIRED', { ...OF_IMAGE, ...EXPIRED }, UP_TO_IMAGE_SNAPSHOT);
  });

  test('are fetched when the Snapshot lists another hash of the same version (S0, G2)', () => {
    world.image.targets['fw-2.bin'] = imageTarget('fw-2.bin', [PRIMARY]);
    world.image.publishTargets();
    world.image.publishSnapshotAndTimestamp();
    world.assign('fw-2.bin');
    world.director.publish();
    assert.equal(world.update().targets[0]?.filename, 'fw-2.bin');
    assert.equal(world.device.kept.at(-1), 'image/targets');
  });

  test('are not fetched again while the Snapshot lists those that are kept (S0, F9)', () => {
    world.image.targets['fw-2.bin'] = imageTarget('fw-2.bin', [PRIMARY]);
    world.publish();
    world.assign('fw-2.bin');
    world.director.publish();
    world.update();
    world.image.publishSnapshotAndTimestamp();
    world.assign('fw-1.bin');
    world.director.publish();
    assert.equal(world.update().outcome, 'update');
    assert.equal(world.device.requests.includes('image/targets.json'), false);
  });
});
