import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { floorsOf } from '../../../agent/uptane/floors.ts';
import { UPTANE } from '../../../agent/uptane/format.ts';
import { assignedBefore } from '../../../agent/uptane/superseded.ts';
import { ed25519, PAST, type Body } from '../../support/build-metadata.ts';
import {
  BOX,
  EXPIRED,
  HARDWARE,
  LOCKBOX,
  OFFLINE_SNAPSHOT,
  OfflineBench,
} from '../../support/offline-bench.ts';
import { imageTarget, PRIMARY, SECONDARY } from '../../support/uptane-world.ts';

let bench: OfflineBench;
beforeEach(() => {
  bench = new OfflineBench();
});

describe('the Offline Snapshot (PURE-2)', () => {
  test('older than one that was seen is refused (rollback)', () => {
    bench.stick.write();
    bench.installs();
    bench.stick.version = 1;
    bench.stick.writeSnapshot();
    bench.refuses('VERSION_ROLLBACK', { ...OFFLINE_SNAPSHOT, trusted: 2, offered: 1 }, []);
  });

  test('cannot take the version of a lockbox back, nor leave one out (rollback)', () => {
    bench.stick.pack(BOX, ['fw-2'], HARDWARE);
    bench.stick.write();
    bench.installs();
    const meta = (changed: Body) => (body: Body) => ({ ...body, meta: changed });
    bench.stick.version += 1;
    bench.stick.writeSnapshot(meta({ [`${BOX}.json`]: { version: 1 } }));
    bench.refuses('VERSION_ROLLBACK', { ...LOCKBOX, trusted: 2, offered: 1 }, []);
    bench.stick.writeSnapshot(meta({}));
    bench.refuses('SNAPSHOT_ROLE_REMOVED', LOCKBOX, []);
  });

  test('that expired is refused (freeze)', () => {
    bench.stick.expires = PAST;
    bench.stick.write();
    bench.refuses('METADATA_EXPIRED', { ...OFFLINE_SNAPSHOT, ...EXPIRED }, ['director/root']);
  });

  test('signed by others is refused (arbitrary software)', () => {
    bench.stick.keys['offline-snapshot'] = [ed25519()];
    bench.stick.write();
    bench.refuses('THRESHOLD_NOT_MET', { ...OFFLINE_SNAPSHOT, valid: 0, threshold: 1 }, [
      'director/root',
    ]);
  });

  test('is no Snapshot of the Director, whoever signed it (mix-and-match)', () => {
    bench.stick.write((body) => ({ ...body, _type: 'Snapshot' }));
    bench.refuses('ROLE_TYPE_MISMATCH', { ...OFFLINE_SNAPSHOT, type: 'Snapshot' }, [
      'director/root',
    ]);
  });

  test('larger than any is refused before it is read (endless data)', () => {
    bench.stick.files.set('director/offline-snapshot.json', Buffer.alloc(65_537, ' '));
    const details = { repo: 'director', file: 'offline-snapshot.json', maxBytes: 65_536 } as const;
    bench.refuses('METADATA_TOO_LARGE', details, ['director/root']);
  });

  test('counts no more when a new root has replaced its keys (fast-forward recovery)', () => {
    bench.stick.version = 1_000_000;
    bench.stick.write();
    bench.installs();
    bench.stick.keys['offline-snapshot'] = [ed25519()];
    bench.stick.publishRoot();
    bench.stick.version = 0;
    bench.stick.write();
    bench.installs();
  });

  test('is among what is sealed against a storage that is put back', () => {
    bench.installs();
    const { versions } = floorsOf(bench.world.device.trusted, { director: UPTANE, image: UPTANE });
    assert.equal(versions.get('director/offline-snapshot'), 1);
  });
});

describe('the Director’s root and a medium (PURE-2)', () => {
  test('that names nobody for a role lets nobody sign for it (arbitrary software)', () => {
    bench = new OfflineBench('bare');
    bench.refuses('OFFLINE_NOT_ALLOWED', { role: 'offline-snapshot', rootVersion: 1 }, []);
    bench.stick.publishRoot(['offline-snapshot']);
    bench.stick.write();
    bench.refuses('OFFLINE_NOT_ALLOWED', { role: 'offline-updates', rootVersion: 2 });
  });

  test('is followed over a rotation on the medium, which the device then knows online, too', () => {
    bench.world.director.keys.root = [ed25519()];
    bench.stick.publishRoot();
    bench.stick.write();
    bench.installs();
    bench.world.publish();
    bench.world.device.verify(bench.world.serve);
    assert.equal(bench.world.device.requests[0], 'director/4.root.json');
  });

  test('signed by others is refused (arbitrary software)', () => {
    bench.world.director.publishRoot((body) => body, [ed25519()]);
    bench.stick.write();
    bench.refuses('THRESHOLD_NOT_MET', { repo: 'director', role: 'root', valid: 0, threshold: 1 }, [
      'director/root',
    ]);
  });

  test('that expired is refused (freeze)', () => {
    bench.world.director.expires.root = PAST;
    bench.stick.publishRoot();
    bench.stick.write();
    bench.refuses('METADATA_EXPIRED', { repo: 'director', role: 'root', ...EXPIRED }, [
      'director/root',
      'director/root',
    ]);
  });
});

describe('the Image repository on a medium (PURE-2)', () => {
  const image = (role: string): { repo: 'image'; role: string } => ({ repo: 'image', role });
  const before = ['director/root', 'director/offline-snapshot'];

  test('has to mean the same bytes as the lockbox', () => {
    bench.world.image.targets['fw-2'] = imageTarget('other', [PRIMARY]);
    bench.world.image.publish();
    bench.stick.write();
    const lengths = { field: 'length', director: '4', image: '5' };
    bench.refuses('TARGET_MISMATCH', { filename: 'fw-2', ...lengths }, [
      ...before,
      'image/snapshot',
      'image/targets',
    ]);
  });

  test('may have a Snapshot that expired, and no Targets that did', () => {
    bench.world.image.expires.snapshot = PAST;
    bench.world.image.publish();
    bench.stick.write();
    bench.installs();
    bench.world.image.expires.targets = PAST;
    bench.world.image.publish();
    bench.stick.write();
    bench.refuses('METADATA_EXPIRED', { ...image('targets'), ...EXPIRED }, [
      'director/offline-snapshot',
      'image/snapshot',
    ]);
  });

  test('older than what came online is refused, and so is the other way round (rollback)', () => {
    bench.world.release('fw-5', [PRIMARY]);
    bench.world.update();
    bench.refuses('VERSION_ROLLBACK', { ...image('snapshot'), trusted: 2, offered: 1 }, [
      'director/offline-snapshot',
    ]);

    const online = new Map(bench.world.image.served);
    bench.world.image.publish();
    bench.stick.write();
    bench.installs();
    for (const [file, bytes] of online) bench.world.image.served.set(file, bytes);
    bench.world.assign('fw-2');
    bench.world.director.publish();
    bench.world.refuses('VERSION_ROLLBACK', { ...image('snapshot'), trusted: 3, offered: 2 }, [
      'director/timestamp',
      'director/snapshot',
      'director/targets',
    ]);
  });

  test('older than what a Timestamp has listed is refused, though its Snapshot never came', () => {
    bench.world.release('fw-5', [PRIMARY]);
    bench.world.device.trusted.set('image/timestamp', bench.world.image.file('timestamp.json'));
    bench.refuses('VERSION_ROLLBACK', { ...image('snapshot'), trusted: 2, offered: 1 });
  });

  test('signed by others is refused (arbitrary software)', () => {
    bench.world.image.keys.snapshot = [ed25519()];
    bench.world.image.publish();
    bench.stick.write();
    bench.refuses('THRESHOLD_NOT_MET', { ...image('snapshot'), valid: 0, threshold: 1 });
  });

  test('delegates as it does online', () => {
    const key = ed25519();
    const { 'fw-2': target, ...others } = bench.world.image.targets;
    assert.ok(target);
    bench.world.image.targets = others;
    bench.world.image.delegations = [{ name: 'supplier', keys: [key], paths: ['fw-*'] }];
    bench.world.image.addDelegated('supplier', { keys: [key], targets: { 'fw-2': target } });
    bench.world.image.publish();
    bench.stick.write();
    bench.installs();
    assert.equal(bench.world.device.requests.at(-1), 'image/delegations/supplier.json');
  });
});

describe('the Director online, after an update from a medium', () => {
  test('is not believed about what it assigned before it, and is about what it assigns anew', () => {
    bench.world.release('fw-1', [PRIMARY]);
    bench.world.update();
    bench.world.device.superseded = new Set(
      assignedBefore(bench.world.device.trusted, (ecu) => ecu === PRIMARY.serial),
    );
    bench.stick.write();
    const [installed] = bench.world.device.verifyOffline(bench.stick.serve, [BOX]).targets;
    assert.ok(installed);
    bench.world.device.inventory = [{ ...PRIMARY, installed }, SECONDARY];
    assert.equal(bench.world.update().outcome, 'up-to-date');
    bench.world.publish();
    assert.equal(bench.world.update().outcome, 'up-to-date', 'signed anew, it says the same');
    bench.world.director.custom = { correlationId: 'urn:here-ota:mtu:2' };
    bench.world.publish();
    assert.equal(bench.world.update().outcome, 'update');
  });

  test('is believed about other ECUs as ever', () => {
    bench.world.release('fw-1', [PRIMARY, SECONDARY]);
    bench.world.update();
    bench.world.device.superseded = new Set(
      assignedBefore(bench.world.device.trusted, (ecu) => ecu === PRIMARY.serial),
    );
    bench.world.device.inventory = [PRIMARY, SECONDARY];
    const { targets } = bench.world.device.verify(bench.world.serve);
    assert.deepEqual(
      targets.map(({ ecu }) => ecu),
      [SECONDARY.serial],
    );
  });
});
