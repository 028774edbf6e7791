import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import { delegationsObject, ed25519, PAST } from '../../support/build-metadata.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { BOX, EXPIRED, HARDWARE, LOCKBOX, OfflineBench } from '../../support/offline-bench.ts';
import { imageTarget, PRIMARY, SECONDARY } from '../../support/uptane-world.ts';

let bench: OfflineBench;
beforeEach(() => {
  bench = new OfflineBench();
});

describe('a lockbox (PURE-2)', () => {
  test('is installed on the ECUs of its hardware, and asks for no Timestamp', () => {
    bench.installs();
    assert.deepEqual(bench.world.device.requests, [
      'director/2.root.json',
      'director/3.root.json',
      'director/offline-snapshot.json',
      `director/${BOX}.json`,
      'image/2.root.json',
      'image/snapshot.json',
      'image/targets.json',
    ]);
    assert.deepEqual(bench.world.device.kept, [
      'director/root',
      'director/offline-snapshot',
      'image/snapshot',
      'image/targets',
    ]);
  });

  test('names itself, its version and its content in the correlation id', () => {
    const first = bench.world.device.verifyOffline(bench.stick.serve, [BOX]).correlationId;
    assert.match(first, /^urn:tdx-ota:lockbox:spring:1:[0-9a-f]{12}$/u);
    bench.stick.write(
      (body) => body,
      (body) => ({ ...body, custom: { correlationId: 'urn:x:1' } }),
    );
    assert.equal(
      bench.world.device.verifyOffline(bench.stick.serve, [BOX]).correlationId,
      'urn:x:1',
    );
  });

  test('that runs already is no update, and the Image repository is not asked', () => {
    const { targets } = bench.world.device.verifyOffline(bench.stick.serve, [BOX]);
    const [installed] = targets;
    assert.ok(installed);
    bench.world.device.inventory = [{ ...PRIMARY, installed }, SECONDARY];
    assert.equal(bench.world.device.verifyOffline(bench.stick.serve, [BOX]).outcome, 'up-to-date');
    assert.equal(
      bench.world.device.requests.some((file) => file.startsWith('image/')),
      false,
    );
    assert.deepEqual(bench.world.device.kept, []);
  });

  test('is chosen of several by its hardware', () => {
    bench.stick.pack('other', ['fw-9'], ['hw-unknown']);
    bench.stick.write();
    const { lockbox } = bench.world.device.verifyOffline(bench.stick.serve, ['other', BOX]);
    assert.equal(lockbox, BOX);
  });

  test('is not guessed where two are for this device', () => {
    bench.stick.pack('autumn', ['fw-3'], HARDWARE);
    bench.stick.write();
    throwsCode(
      () => bench.world.device.verifyOffline(bench.stick.serve, ['autumn', BOX]),
      'OFFLINE_AMBIGUOUS',
      { source: '/stick', lockboxes: 'autumn, spring' },
    );
  });

  test('for other hardware is none for this device', () => {
    bench.stick.pack(BOX, ['fw-2'], ['hw-unknown']);
    bench.stick.write();
    bench.refuses('OFFLINE_NOT_FOR_DEVICE', {
      source: '/stick',
      lockboxes: BOX,
      hardwareIds: 'hw-primary, hw-secondary',
    });
  });

  test('that is not listed is refused (mix-and-match), and never fetched', () => {
    const stray = bench.stick.files.get(`director/${BOX}.json`) ?? new Uint8Array();
    bench.stick.files.set('director/stray.json', stray);
    throwsCode(
      () => bench.world.device.verifyOffline(bench.stick.serve, ['stray']),
      'SNAPSHOT_ROLE_MISSING',
      {
        repo: 'director',
        role: 'offline-updates/stray',
      },
    );
    assert.equal(bench.world.device.requests.at(-1), 'director/offline-snapshot.json');
  });

  test('with a name that is no file name is refused, whoever listed it', () => {
    bench.stick.write((body) => ({ ...body, meta: { '../x.json': { version: 1 } } }));
    throwsCode(
      () => bench.world.device.verifyOffline(bench.stick.serve, ['../x']),
      'METADATA_MALFORMED',
      {
        path: 'director/offline-updates/../x',
        want: 'letters, digits, _, - and inner dots, 1 to 50',
      },
    );
  });

  test('that is listed and not there is missing', () => {
    bench.stick.files.delete(`director/${BOX}.json`);
    bench.refuses('METADATA_MISSING', { repo: 'director', file: `${BOX}.json` });
  });

  test('that expired is refused (freeze)', () => {
    bench.stick.write(
      (body) => body,
      (body) => ({ ...body, expires: PAST }),
    );
    bench.refuses('METADATA_EXPIRED', { ...LOCKBOX, ...EXPIRED });
  });

  test('signed by others is refused (arbitrary software)', () => {
    bench.stick.keys['offline-updates'] = [ed25519()];
    bench.stick.write();
    bench.refuses('THRESHOLD_NOT_MET', { ...LOCKBOX, valid: 0, threshold: 1 });
  });

  test('of an older version than listed is refused (mix-and-match)', () => {
    const old = bench.stick.files.get(`director/${BOX}.json`) ?? new Uint8Array();
    bench.stick.pack(BOX, ['fw-2'], HARDWARE);
    bench.stick.write((body) => {
      const meta = { [`${BOX}.json`]: { version: 2 } };
      return { ...body, meta };
    });
    bench.stick.files.set(`director/${BOX}.json`, old);
    bench.refuses('METADATA_VERSION_MISMATCH', { ...LOCKBOX, listed: 2, offered: 1 });
  });

  test('with other content than listed is refused (mix-and-match)', () => {
    bench.stick.writeLockbox(BOX, (body) => ({ ...body, version: 1, x: 'a' }));
    const { length = 0 } = bench.stick.files.get(`director/${BOX}.json`) ?? {};
    bench.refuses('METADATA_TOO_LARGE', {
      repo: 'director',
      file: `${BOX}.json`,
      maxBytes: length - 8,
    });
    bench.stick.writeLockbox(BOX, (body) => ({ ...body, expires: '2036-12-31T23:59:59Z' }));
    bench.refuses('METADATA_HASH_MISMATCH', { ...LOCKBOX, listedIn: 'offline-snapshot' }, []);
  });

  test('is no Targets file, and no Targets file is one, whoever signed it', () => {
    bench.stick.write(
      (body) => body,
      (body) => ({ ...body, _type: 'Targets' }),
    );
    bench.refuses('ROLE_TYPE_MISMATCH', { ...LOCKBOX, type: 'Targets' });
  });

  test('cannot delegate', () => {
    const delegations = delegationsObject([{ name: 'x', keys: [ed25519()], paths: ['*'] }]);
    bench.stick.write(
      (body) => body,
      (body) => ({ ...body, delegations }),
    );
    bench.refuses('DIRECTOR_DELEGATES', { delegations: 1 });
  });

  test('names no ECU', () => {
    bench.stick.pack(BOX, ['fw-2'], HARDWARE, {
      ecuIdentifiers: { x: { hardwareId: 'hw-primary' } },
    });
    bench.stick.write();
    bench.refuses('METADATA_MALFORMED', {
      path: `director/offline-updates/${BOX}.signed.targets.fw-2.custom.ecuIdentifiers`,
      want: 'none: an offline update is for hardware',
    });
  });

  test('has one image for each ECU', () => {
    bench.stick.pack(BOX, ['fw-2', 'fw-3'], HARDWARE);
    bench.stick.write();
    bench.refuses('DIRECTOR_REPEATS_ECU', { ecu: PRIMARY.serial });
  });

  test('cannot bring back a release that is older than the one confirmed (rollback)', () => {
    bench.world.device.inventory = [{ ...PRIMARY, highestReleaseCounter: 7 }, SECONDARY];
    const details = { ecu: PRIMARY.serial, filename: 'fw-2', trusted: 7 };
    bench.stick.pack(BOX, ['fw-2'], HARDWARE, { releaseCounter: 6 });
    bench.stick.write();
    bench.refuses('RELEASE_COUNTER_ROLLBACK', { ...details, offered: 6 });
    bench.stick.pack(BOX, ['fw-2'], HARDWARE);
    bench.stick.write();
    bench.refuses('RELEASE_COUNTER_ROLLBACK', { ...details, offered: 0 }, [
      'director/offline-snapshot',
      'image/snapshot',
      'image/targets',
    ]);
  });

  test('with a filename that leaves its directory is refused', () => {
    bench.stick.pack(BOX, ['../fw-2'], HARDWARE);
    bench.stick.write();
    bench.refuses('TARGET_NAME_UNSAFE', { filename: '../fw-2', problem: 'a relative segment' });
  });

  test('is for every ECU of its hardware, the Primary last', () => {
    bench.stick.pack(BOX, ['fw-2'], [...HARDWARE, SECONDARY.hardwareId]);
    bench.world.image.targets['fw-2'] = imageTarget('fw-2', [PRIMARY, SECONDARY]);
    bench.world.image.publish();
    bench.stick.write();
    const { targets } = bench.world.device.verifyOffline(bench.stick.serve, [BOX]);
    assert.deepEqual(
      targets.map(({ ecu }) => ecu),
      [SECONDARY.serial, PRIMARY.serial],
    );
  });
});
