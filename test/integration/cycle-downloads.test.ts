/** Downloads that people stop, that a way or a disk stops, and what stays of them. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { abortByHand, pauseByHand, resumeByHand } from '../../agent/cycle/by-hand.ts';
import { OtaError } from '../../agent/errors.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import { bytes, TestDevice } from '../support/cycle-device.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { installationReport } from '../support/sent-manifest.ts';
import { StreamingSlots } from '../support/streaming-installer.ts';
import { PRIMARY } from '../support/uptane-world.ts';

const APP: Ecu = { serial: 'app-1', hardwareId: 'hw-app' };

/** The Primary's image is staged, the application's is streamed. */
async function withDevice(ecu: Ecu, act: (device: TestDevice) => Promise<void>): Promise<void> {
  const device = new TestDevice([[APP, (directory) => new StreamingSlots(directory)]]);
  try {
    device.world.director.custom = { correlationId: 'urn:here-ota:mtu:1' };
    device.world.release('fw-1', [ecu]);
    await act(device);
  } finally {
    await device.close();
  }
}

/** A sender that has begun and then says nothing more. */
function silentAfter(text: string, begun: () => void): AsyncIterable<Uint8Array> {
  return (async function* () {
    yield Buffer.from(text);
    begun();
    await new Promise(() => undefined);
  })();
}

/** Begins a download, and stops it once its first bytes are there. */
async function stop(device: TestDevice, what: 'pause' | 'abort'): Promise<string> {
  const begun = Promise.withResolvers<undefined>();
  device.outside.image = () => {
    return silentAfter('fw', () => {
      begun.resolve(undefined);
    });
  };
  const cycle = device.cycle();
  await begun.promise;
  device.brake.ask(what);
  return (await cycle).outcome;
}

const eventsOf = async (device: TestDevice): Promise<readonly string[]> =>
  (await (await device.ports()).store.queuedEvents(50)).map(({ eventType }) => eventType.id);

for (const [how, ecu] of [
  ['staged', PRIMARY],
  ['streamed', APP],
] as const) {
  describe(`a download that is ${how}`, () => {
    test('is paused at once, over restarts and polls, and goes on where it was', () =>
      withDevice(ecu, async (device) => {
        assert.equal(await stop(device, 'pause'), 'paused');
        device.outside.image = () => assert.fail('a paused image was asked for');
        const manifests = device.outside.manifests.length;
        for (let cycle = 0; cycle < 2; cycle += 1) {
          assert.equal((await device.cycle()).outcome, 'paused');
        }
        assert.equal(device.outside.manifests.length, manifests + 2, 'polls go on');
        assert.equal((await resumeByHand(await device.ports())).outcome, 'resumed');
        const offsets: number[] = [];
        device.outside.image = (offset, { filename }) => {
          offsets.push(offset);
          return bytes(filename.slice(offset));
        };
        const { outcome } = await device.cycle();
        assert.equal(outcome, ecu === PRIMARY ? 'reboot-required' : 'installed');
        assert.deepEqual(offsets, [2]);
      }));

    test('is aborted at once, reported, and not begun again by itself', () =>
      withDevice(ecu, async (device) => {
        assert.equal(await stop(device, 'abort'), 'failed');
        const { code, items } = installationReport(
          device.outside.manifests.find((text) => text.includes('installation_report')) ?? '',
        );
        assert.equal(code, `${ecu.hardwareId}:INSTALL_FAILED`);
        assert.equal(items[0]?.description, 'UPDATE_ABORTED while=downloading');
        assert.equal((await device.cycle()).outcome, 'failed-before');
      }));

    test('may be aborted while it is paused', () =>
      withDevice(ecu, async (device) => {
        await stop(device, 'pause');
        assert.equal((await abortByHand(await device.ports())).outcome, 'aborted');
        assert.equal((await device.cycle()).outcome, 'failed-before');
      }));

    test('and paused gives way to what the Director wants instead', () =>
      withDevice(ecu, async (device) => {
        await stop(device, 'pause');
        device.outside.image = (offset, { filename }) => bytes(filename.slice(offset));
        device.world.release('fw-2', [ecu]);
        const { outcome } = await device.cycle();
        assert.equal(outcome, ecu === PRIMARY ? 'reboot-required' : 'installed');
      }));

    test('that breaks off resumes where it was', () =>
      withDevice(ecu, async (device) => {
        const offsets: number[] = [];
        device.outside.image = (offset, { filename }) => {
          offsets.push(offset);
          return broken(filename.slice(offset, offset + 2));
        };
        const { outcome } = await device.cycle();
        assert.equal(outcome, ecu === PRIMARY ? 'reboot-required' : 'installed');
        assert.deepEqual(offsets, [0, 2, 4]);
      }));
  });
}

/** Two bytes, and a break where there would be more. */
async function* broken(text: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(Buffer.from(text));
  if (text.length < 2) return;
  throw new OtaError('DOWNLOAD_FAILED', { filename: 'f', url: 'u', cause: 'reset' });
}

test('a pause is told to the Director as an event, and so is what comes after it', () =>
  withDevice(PRIMARY, async (device) => {
    await stop(device, 'pause');
    const ports = await device.ports();
    assert.deepEqual(await eventsOf(device), []);
    await resumeByHand(ports);
    await pauseByHand(ports);
    assert.deepEqual(await eventsOf(device), ['EcuDownloadResumed', 'EcuDownloadPaused']);
  }));

test('where nothing is downloaded there is nothing to pause, resume or abort', () =>
  withDevice(PRIMARY, async (device) => {
    const ports = await device.ports();
    const acts = { pause: pauseByHand, resume: resumeByHand, abort: abortByHand };
    for (const [name, act] of Object.entries(acts)) {
      await rejectsCode(act(ports), 'USAGE', {
        what: `no download to ${name} (the cycle is at idle)`,
        remedy: 'see ota-agent status; what was written already is for ota-agent rollback',
      });
    }
  }));

test('a full disk says before the download how much all images need, and does not loop', () =>
  withDevice(PRIMARY, async (device) => {
    device.outside.image = () => assert.fail('an image was asked for');
    const ports = await device.ports();
    const { StagingDirectory } = await import('../../agent/io/staging.ts');
    const path = join(device.directory.path, 'staging');
    const staging = new StagingDirectory(path, Number.MAX_SAFE_INTEGER / 2);
    const outcome = await device.cycle({ ...ports, staging });
    assert.ok(outcome.outcome === 'failed');
    assert.equal(outcome.failure.code, 'SPACE_INSUFFICIENT');
    assert.equal(outcome.failure.details['neededBytes'], 4 + Number.MAX_SAFE_INTEGER / 2);
    assert.deepEqual(device.outside.sleptMs, []);
  }));

test('images are removed when their update is over, where the settings say so', () =>
  withDevice(PRIMARY, async (device) => {
    const staged = (): number => readdirSync(join(device.directory.path, 'staging')).length;
    const keep = async (keepImages: 'until-done' | 'until-next'): Promise<void> => {
      const { limits } = await device.ports();
      for (let cycle = 0; cycle < 2; cycle += 1) {
        await device.cycle({ limits: { ...limits, keepImages } });
        assert.ok(existsSync(join(device.directory.path, 'staging')));
        if (cycle === 0) device.boot();
      }
    };
    await keep('until-next');
    assert.equal(staged(), 1);
    device.world.release('fw-2', [PRIMARY]);
    await keep('until-done');
    assert.equal(staged(), 0);
  }));
