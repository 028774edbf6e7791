/** Updates from a stick: real storage, staging, slots and files; the gateway is down unless said otherwise. */
import assert from 'node:assert/strict';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { approveByHand } from '../../agent/cycle/by-hand.ts';
import { Daemon } from '../../agent/cycle/daemon.ts';
import { runOfflineCycle } from '../../agent/cycle/offline.ts';
import { PickUp } from '../../agent/cycle/pick-up.ts';
import { decryptingInstallers } from '../../agent/io/encrypted/decrypting-installer.ts';
import { openMedia } from '../../agent/io/medium.ts';
import type { Ports } from '../../agent/ports.ts';
import { UPTANE } from '../../agent/uptane/format.ts';
import { readMarkerValues } from '../support/boot-loader.ts';
import { hashesOf } from '../support/build-metadata.ts';
import type { TestDevice } from '../support/cycle-device.ts';
import { decryptionOf, encryptedImage } from '../support/encrypted-image.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { softwareKey } from '../support/secrets-key.ts';
import { imageAt, withStick } from '../support/stick-bench.ts';
import { PRIMARY } from '../support/uptane-world.ts';

interface Manifest {
  readonly signed: {
    readonly installation_report?: {
      readonly report: {
        readonly correlation_id: string;
        readonly result: { readonly code: string };
      };
    };
  };
}

function reports(device: TestDevice): readonly (readonly [string, string])[] {
  return device.outside.manifests.flatMap((text) => {
    const { installation_report: told } = (JSON.parse(text) as Manifest).signed;
    return told === undefined ? [] : [[told.report.correlation_id, told.report.result.code]];
  });
}

describe('an update from a stick', () => {
  test('is installed, confirmed after the boot and told when there is a way, all without a gateway', async () => {
    await withStick(async ({ device, at, release }) => {
      assert.equal((await device.insert(at)).outcome, 'reboot-required');
      device.boot();
      rmSync(at, { recursive: true });
      // Confirmed by its health alone; then the poll finds no gateway.
      await rejectsCode(device.cycle(), 'GATEWAY_UNREACHABLE', DOWN);
      assert.equal(device.runningImage(4), 'fw-2');
      assert.equal(readMarkerValues(device.board.marker)['state'], 'good');

      release('fw-3');
      assert.equal((await device.insert(at)).outcome, 'reboot-required');
      device.boot();
      assert.equal((await device.insert(at)).outcome, 'installed');
      assert.equal(device.runningImage(4), 'fw-3');
      const { store } = await device.ports();
      assert.equal((await store.postponedReports()).length, 2);
      const [last] = await store.history();
      assert.equal(last?.description, 'installed and confirmed, offline from the lockbox box');

      device.outside.gateway = 'up';
      device.world.publish();
      assert.equal((await device.cycle()).outcome, 'up-to-date');
      const [first, second] = reports(device);
      assert.match(first?.[0] ?? '', /^urn:tdx-ota:lockbox:box:1:/u);
      assert.match(second?.[0] ?? '', /^urn:tdx-ota:lockbox:box:2:/u);
      assert.deepEqual([first?.[1], second?.[1]], ['OK', 'OK']);
      await device.cycle();
      assert.equal(reports(device).length, 2, 'each is told once');
    });
  });

  test('is not undone by what the Director assigned before it', async () => {
    await withStick(async ({ device, at, release }) => {
      device.outside.gateway = 'up';
      device.world.release('fw-1');
      await device.install();
      release('fw-2');
      device.outside.gateway = 'down';
      await device.insert(at);
      device.boot();
      assert.equal((await device.insert(at)).outcome, 'installed');
      device.outside.gateway = 'up';
      assert.equal((await device.cycle()).outcome, 'up-to-date');
      assert.equal(device.runningImage(4), 'fw-2');
      device.world.release('fw-4');
      await device.install();
      assert.equal(device.runningImage(4), 'fw-4');
    });
  });

  test('that is not healthy goes back, and the stick does not try it again by itself', async () => {
    await withStick(async ({ device, at }) => {
      await device.insert(at);
      device.boot();
      device.outside.sick = 'sick';
      assert.equal((await device.insert(at)).outcome, 'unconfirmed');
      device.outside.uptimeMs = 120_000;
      assert.equal((await device.insert(at)).outcome, 'reboot-required');
      device.boot();
      device.outside.sick = undefined;
      const ports = await device.ports();
      const { outcome } = await runOfflineCycle(ports, { source: at, by: 'itself' });
      assert.equal(outcome, 'failed-before');
      assert.equal(device.runningImage(7), 'factory');
      assert.equal((await device.insert(at)).outcome, 'reboot-required', 'a person may');
    });
  });

  test('whose image was tampered with is refused, and what runs is left alone', async () => {
    await withStick(async ({ device, at }) => {
      writeFileSync(imageAt(at, 'fw-2'), 'fw-X');
      const outcome = await device.insert(at);
      assert.ok(outcome.outcome === 'failed');
      assert.equal(outcome.failure.code, 'IMAGE_HASH_MISMATCH');
      assert.equal(readMarkerValues(device.board.marker)['state'] ?? 'good', 'good');
      assert.equal(device.runningImage(7), 'factory');
    });
  });

  test('that is encrypted for this device is opened on it, from the cipher text on the stick', async () => {
    await withStick(async ({ device, stick, at }) => {
      const key = softwareKey();
      const { encrypted, cipher } = await encryptedImage(Buffer.from('fw-2'), key.registered);
      const { chunkBytes, key: wrapped, lengthBytes: length } = encrypted;
      const hashes = Object.fromEntries(encrypted.hashes);
      const encryption = { format: 'A256GCM-CHUNKS-1', chunkBytes, key: wrapped, length, hashes };
      stick.pack('box', ['fw-2'], [PRIMARY.hardwareId], { encryption });
      stick.images.clear();
      stick.images.set(hashesOf(cipher).sha256, cipher);
      rmSync(at, { recursive: true });
      stick.write().writeTo(at);
      const { installers: plain } = await device.ports();
      const decryption = decryptionOf(key, device.directory.path);
      const installers = decryptingInstallers(plain, decryption);
      assert.equal((await device.insert(at, { installers })).outcome, 'reboot-required');
      device.boot();
      assert.equal(device.runningImage(4), 'fw-2');
    });
  });

  test('without its image, or with a part of it, begins nothing', async () => {
    await withStick(async ({ device, at }) => {
      const path = imageAt(at, 'fw-2');
      const details = { filename: 'fw-2', url: path };
      truncateSync(path, 3);
      const cause = '3 bytes, and 4 are signed';
      await rejectsCode(device.insert(at), 'DOWNLOAD_FAILED', { ...details, cause });
      rmSync(path);
      const none = 'the medium does not have it';
      await rejectsCode(device.insert(at), 'DOWNLOAD_FAILED', { ...details, cause: none });
      assert.equal(await (await device.ports()).store.loadState(), undefined);
    });
  });

  test('that is pulled out while it is copied fails, goes on with what is there, and ends well', async () => {
    await withStick(async ({ device, at }) => {
      const path = imageAt(at, 'fw-2');
      const media = openMedia();
      const failing: Ports['media'] = {
        ...media,
        open: (source) => ({
          ...media.open(source),
          fetchMetadata: (...asked) => media.open(source).fetchMetadata(...asked),
          distrust: () => undefined,
          openImage: async function* (target, offset) {
            yield Buffer.from('fw-2').subarray(offset, 2);
            rmSync(path, { force: true });
            yield* media.open(source).openImage(target, offset);
          },
        }),
      };
      const outcome = await device.insert(at, { media: failing });
      assert.ok(outcome.outcome === 'failed');
      assert.equal(outcome.failure.code, 'DOWNLOAD_FAILED');
      writeFileSync(path, 'fw-2');
      assert.equal((await device.insert(at)).outcome, 'reboot-required');
    });
  });

  test('that was being copied when the power failed goes on from the stick, also in a usual cycle', async () => {
    await withStick(async ({ device, at }) => {
      const ports = await device.ports();
      const cut: Ports['staging'] = {
        demandSpace: (targets) => ports.staging.demandSpace(targets),
        sweep: (targets) => ports.staging.sweep(targets),
        receive: () => Promise.reject(new Error('power cut')),
      };
      await assert.rejects(runOfflineCycle({ ...ports, staging: cut }, { source: at, by: 'hand' }));
      assert.match((await ports.store.loadState()) ?? '', /"downloading".*"lockbox":"box"/u);
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      device.boot();
      assert.equal(device.runningImage(4), 'fw-2');
    });
  });

  test('waits for consent like any other, and the Director does not take it back', async () => {
    await withStick(async ({ device, at }) => {
      const rules = {
        windows: { download: [], install: [] },
        consent: 'always',
        consentFor: [],
        criticalAfterMs: 0,
      } as const;
      const gate = { rules, inhibitions: () => Promise.resolve([]) };
      const held = await device.insert(at, { gate });
      assert.ok(held.outcome === 'held');
      device.outside.gateway = 'up';
      device.world.publish();
      assert.equal((await device.cycle({ gate })).outcome, 'held');
      device.outside.gateway = 'down';
      assert.equal((await device.cycle({ gate })).outcome, 'held');
      await approveByHand(held.held.update, await device.ports());
      assert.equal((await device.cycle({ gate })).outcome, 'reboot-required');
    });
  });

  test('is taken by the daemon as it comes, and not while another image is on trial', async () => {
    await withStick(async ({ device, at }) => {
      device.outside.gateway = 'up';
      device.world.release('fw-1');
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      device.boot();
      device.outside.sick = 'sick';
      const ports = await device.ports();
      const pickUp = new CountingPickUp(openMedia(), [at]);
      const twice = Promise.withResolvers<undefined>();
      const daemon = new Daemon(ports, {
        pollIntervalMs: 3_600_000,
        offline: { pickUp, everyMs: 10 },
        progressed: (status) => {
          assert.equal(status, 'unconfirmed');
          if (pickUp.offered === 2) twice.resolve(undefined);
        },
      });
      const stop = new AbortController();
      const ended = daemon.run(stop.signal);
      await twice.promise;
      stop.abort();
      await ended;
    });
  });

  test('makes a download from the gateway that is paused give way', async () => {
    await withStick(async ({ device, at, release }) => {
      device.outside.gateway = 'up';
      device.world.release('fw-1');
      device.brake.ask('pause');
      assert.equal((await device.cycle()).outcome, 'paused');
      device.outside.gateway = 'down';
      release('fw-2');
      assert.equal((await device.insert(at)).outcome, 'reboot-required');
      device.boot();
      assert.equal(device.runningImage(4), 'fw-2');
    });
  });

  test('for a device that takes none, or with a TUF repository, is refused clearly', async () => {
    await withStick(async ({ device, at }) => {
      const { media, ...without } = await device.ports();
      assert.ok(media);
      await rejectsCode(runOfflineCycle(without, { source: at, by: 'hand' }), 'USAGE', {
        what: 'this agent takes no offline updates',
        remedy: 'set separation.installer = false: the other process verifies for itself',
      });
      await rejectsCode(device.insert(at, { imageFormat: { ...UPTANE, name: 'tuf' } }), 'USAGE', {
        what: 'offline updates have no Image repository of the dialect tuf',
        remedy: 'uptane.dialect = "uptane"',
      });
    });
  });
});

class CountingPickUp extends PickUp {
  offered = 0;

  override async next(): Promise<string | undefined> {
    const source = await super.next();
    if (source !== undefined) this.offered += 1;
    return source;
  }
}

const DOWN = { url: 'u', cause: 'down', remedy: 'wait' };
