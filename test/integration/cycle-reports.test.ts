/** What the Director is told of whole cycles; every signature is checked by other code than the agent's. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { OtaError } from '../../agent/errors.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import type { Store } from '../../agent/ports.ts';
import { formatInstant } from '../../agent/uptane/time.ts';
import { hashesOf } from '../support/build-metadata.ts';
import { bytes, PRIMARY_KEY, TestDevice } from '../support/cycle-device.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { readManifest } from '../support/sent-manifest.ts';
import { NOW, PRIMARY, SECONDARY } from '../support/uptane-world.ts';

const SLOW = { minimumBytesPerSecond: 1024, overMs: 30_000 };
const HOUR_MS = 3_600_000;

async function withDevice(act: (device: TestDevice) => Promise<void>): Promise<void> {
  const device = new TestDevice();
  try {
    device.world.release('fw-1');
    await act(device);
  } finally {
    await device.close();
  }
}

/** What every manifest so far told of one ECU. */
function reports(device: TestDevice): ReturnType<typeof readManifest>[string][] {
  return device.outside.manifests.map((text) => {
    const report = readManifest(text, PRIMARY_KEY)[PRIMARY.serial];
    assert.ok(report);
    return report;
  });
}

const attacks = (device: TestDevice): readonly string[] =>
  reports(device).map(({ attacks_detected: told }) => told);

describe('a vehicle version manifest (§5.4.2.1)', () => {
  test('has a report of every ECU of the inventory, each signed, with every hash of its image (P1)', () =>
    withDevice(async (device) => {
      const { store } = await device.ports();
      assert.ok(store instanceof SqliteStore);
      await store.saveEcus([PRIMARY, SECONDARY]);
      await device.install();
      const told = readManifest(device.outside.manifests.at(-1) ?? '', PRIMARY_KEY);
      assert.deepEqual(Object.keys(told).sort(), [PRIMARY.serial, SECONDARY.serial]);
      assert.deepEqual(told[PRIMARY.serial]?.installed_image, {
        filepath: 'fw-1',
        fileinfo: { hashes: hashesOf('fw-1'), length: 4 },
      });
      assert.equal(told[SECONDARY.serial]?.installed_image.filepath, 'noimage');
    }));

  test('gives the real time, that of the report before, and a counter that grows (P1, P2)', () =>
    withDevice(async (device) => {
      await device.install();
      const before = device.outside.manifests.length;
      for (let cycle = 1; cycle <= 2; cycle += 1) {
        device.outside.wallMs = NOW + cycle * HOUR_MS;
        await device.cycle();
      }
      const at = (hours: number): string => formatInstant((NOW + hours * HOUR_MS) as typeof NOW);
      const told = reports(device);
      assert.equal(told[0]?.previous_timeserver_time, '1970-01-01T00:00:00Z');
      assert.deepEqual(
        told
          .slice(before)
          .map((report) => [report.previous_timeserver_time, report.timeserver_time]),
        [
          [at(0), at(1)],
          [at(1), at(2)],
        ],
      );
      const counters = told.map((report) => Number(report.report_counter));
      assert.deepEqual(
        counters,
        counters.map((_counter, index) => NOW / 1000 + index),
      );
    }));
});

describe('an attack', () => {
  test('on metadata is told with its code in the next manifest, and only there (P1, P10)', () =>
    withDevice(async (device) => {
      const { director } = device.world;
      const older = director.file('timestamp.json');
      director.publish();
      await device.install();
      const before = device.outside.manifests.length;
      director.served.set('timestamp.json', older);
      await rejectsCode(device.cycle(), 'VERSION_ROLLBACK', {
        repo: 'director',
        role: 'timestamp',
        trusted: 2,
        offered: 1,
      });
      director.publish();
      await device.cycle();
      await device.cycle();
      assert.deepEqual(attacks(device).slice(before), ['', 'rollback:VERSION_ROLLBACK', '']);
    }));

  test('is still told after a success in between, when no manifest got through before (P1, P10)', () =>
    withDevice(async (device) => {
      device.outside.slowFile = 'timestamp.json';
      await rejectsCode(device.cycle(), 'DOWNLOAD_TOO_SLOW', {
        filename: 'timestamp.json',
        ...SLOW,
      });
      device.outside.slowFile = undefined;
      device.outside.gateway = 'refuses-manifests';
      await device.install();
      assert.equal((await device.cycle()).outcome, 'up-to-date');
      assert.equal(await (await device.ports()).store.refusal(), undefined);
      device.outside.gateway = 'up';
      await device.cycle();
      await device.cycle();
      assert.deepEqual(attacks(device), ['', 'slow-retrieval:DOWNLOAD_TOO_SLOW', '']);
    }));

  test('by slow metadata ends the cycle, keeps nothing of that file and is told (P8, §5.4)', () =>
    withDevice(async (device) => {
      device.outside.slowFile = 'snapshot.json';
      device.outside.image = () => assert.fail('an image was asked for');
      const { store } = await device.ports();
      await rejectsCode(device.cycle(), 'DOWNLOAD_TOO_SLOW', {
        filename: 'snapshot.json',
        ...SLOW,
      });
      assert.equal((await store.loadTrusted()).has('director/snapshot'), false);
      assert.equal(await store.refusal(), 'DOWNLOAD_TOO_SLOW');
      device.outside.slowFile = undefined;
      device.outside.image = () => bytes('fw-1');
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.deepEqual(attacks(device), ['', 'slow-retrieval:DOWNLOAD_TOO_SLOW']);
    }));

  test('by a slow image postpones the update and is told (P8, §5.4)', () =>
    withDevice(async (device) => {
      device.outside.image = () => {
        throw new OtaError('DOWNLOAD_TOO_SLOW', { filename: 'fw-1', ...SLOW });
      };
      assert.equal((await device.cycle()).outcome, 'failed');
      device.outside.image = () => bytes('fw-1');
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.deepEqual(attacks(device), ['', 'slow-retrieval:DOWNLOAD_TOO_SLOW']);
    }));

  test('with a wrong image leaves the image before and trusted Targets, and is told at once (V9, V10, V11, P10)', () =>
    withDevice(async (device) => {
      const { store } = await device.ports();
      device.outside.image = () => bytes('FW-1');
      assert.equal((await device.cycle()).outcome, 'failed');
      assert.deepEqual(attacks(device), ['', 'arbitrary-software:IMAGE_HASH_MISMATCH']);
      assert.equal(reports(device).at(-1)?.installed_image.filepath, 'unknown');
      assert.equal(device.runningImage(7), 'factory');
      const targets = await trustedTargets(store);
      await device.cycle();
      assert.deepEqual(await trustedTargets(store), targets);
      assert.equal(attacks(device).at(-1), '');
    }));
});

async function trustedTargets(store: Store): Promise<Buffer> {
  const trusted = await store.loadTrusted();
  return Buffer.from(trusted.get('director/targets') ?? []);
}
