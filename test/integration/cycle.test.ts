/** Whole cycles on real storage, staging and slots; repositories, Director and time in memory. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { rollBackByHand } from '../../agent/cycle/by-hand.ts';
import { runCycle } from '../../agent/cycle/cycle.ts';
import { isOtaError, OtaError } from '../../agent/errors.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { readMarkerValues } from '../support/boot-loader.ts';
import { cuttingPorts, PowerCut, type Cut } from '../support/cut-ports.ts';
import { bytes, TestDevice } from '../support/cycle-device.ts';
import { NOW, PRIMARY } from '../support/uptane-world.ts';

async function withDevice(act: (device: TestDevice) => Promise<void>): Promise<void> {
  const device = new TestDevice();
  try {
    device.world.release('fw-1');
    await act(device);
  } finally {
    await device.close();
  }
}

/** Cycles and boots until the update is over. */
async function complete(device: TestDevice): Promise<void> {
  for (let round = 0; round < 5; round += 1) {
    const { outcome } = await device.cycle();
    if (outcome === 'reboot-required') device.boot();
    else if (outcome === 'installed' || outcome === 'up-to-date') return;
  }
  assert.fail('the update did not come to an end');
}

function demandProvenMarker(device: TestDevice): void {
  const marker = readMarkerValues(device.board.marker);
  const active = marker['active'];
  const running = readFileSync(device.board.booted, 'utf8').trim();
  if (active === undefined || active === running) return;
  const content = readFileSync(join(device.directory.path, active), 'utf8').slice(0, 4);
  const digest = createHash('sha256').update(content).digest('hex');
  assert.equal(marker[`image_${active}`], `sha256:${digest}`, 'an unproven slot is bootable');
}

/** Loses power at one call of one port, then brings the device back. */
async function cutOnce(
  cut: Cut & { readonly call: number },
  comesBack: 'restarted' | 'rebooted',
): Promise<boolean> {
  let wasCut = false;
  await withDevice(async (device) => {
    for (let run = 0; run < 2 && !wasCut; run += 1) {
      const cutting = cuttingPorts(await device.ports(), {
        ...cut,
        call: cut.call - run * callsOfFirstRun,
      });
      try {
        await runCycle(cutting.ports);
        device.boot();
      } catch (error) {
        assert.ok(error instanceof PowerCut, String(error));
        wasCut = true;
      }
      demandProvenMarker(device);
    }
    if (comesBack === 'rebooted') device.boot();
    await complete(device);
    assert.equal(device.runningImage(4), 'fw-1');
    assert.equal(readMarkerValues(device.board.marker)['state'], 'good');
    const [ecu] = await (await device.ports()).store.inventory();
    assert.equal(ecu?.installed?.filename, 'fw-1');
  });
  return wasCut;
}

let callsOfFirstRun = 0;

/** Loses power in a roll-back by hand, and asks for it again where that had no effect. */
async function rollsBackCut(cut: Cut): Promise<boolean> {
  let wasCut = false;
  await withDevice(async (device) => {
    await complete(device);
    try {
      await rollBackByHand(cuttingPorts(await device.ports(), cut).ports);
    } catch (error) {
      assert.ok(error instanceof PowerCut, String(error));
      wasCut = true;
    }
    device.boot();
    if (device.runningImage(4) === 'fw-1') await rollBackByHand(await device.ports());
    device.boot();
    await device.cycle();
    assert.equal(device.runningImage(7), 'factory');
    assert.deepEqual(await (await device.ports()).store.inventory(), [PRIMARY]);
  });
  return wasCut;
}

describe('the cycle', () => {
  test('power lost at any call of any port, before or after it, ends in the new image', async (t) => {
    await withDevice(async (device) => {
      const counting = cuttingPorts(await device.ports(), { call: 0, moment: 'before' });
      const first = await runCycle(counting.ports);
      assert.equal(first.outcome, 'reboot-required');
      callsOfFirstRun = counting.calls();
    });
    let cuts = 0;
    for (let call = 1; ; call += 1) {
      let any = false;
      for (const moment of ['before', 'after'] as const) {
        for (const comesBack of ['restarted', 'rebooted'] as const) {
          const wasCut = await cutOnce({ call, moment }, comesBack);
          any ||= wasCut;
          cuts += wasCut ? 1 : 0;
        }
      }
      if (!any) break;
    }
    t.diagnostic(`${String(cuts)} power cuts, ${String(callsOfFirstRun)} calls before the reboot`);
    assert.ok(cuts > 4 * callsOfFirstRun);
  });

  test('an idle cycle sends one manifest and remembers nothing but its counter', () =>
    withDevice(async (device) => {
      await complete(device);
      const before = device.outside.manifests.length;
      assert.deepEqual(await device.cycle(), { outcome: 'up-to-date' });
      assert.equal(device.outside.manifests.length, before + 1);
    }));

  test('the Director hears how the update ended, with its correlation id', () =>
    withDevice(async (device) => {
      device.world.director.custom = { correlationId: 'urn:here-ota:mtu:7' };
      device.world.publish();
      await complete(device);
      const reports = device.outside.manifests.filter((text) =>
        text.includes('installation_report'),
      );
      assert.equal(reports.length, 1);
      assert.match(reports[0] ?? '', /"correlation_id":"urn:here-ota:mtu:7"/u);
      assert.match(reports[0] ?? '', /"code":"OK"/u);
    }));

  test('wrong bytes end the update after the configured attempts, and it is not tried again', () =>
    withDevice(async (device) => {
      let downloads = 0;
      device.outside.image = () => {
        downloads += 1;
        return bytes('FW-1');
      };
      const refused = await device.cycle();
      assert.ok(refused.outcome === 'failed');
      assert.equal(refused.failure.code, 'IMAGE_HASH_MISMATCH');
      assert.deepEqual([downloads, device.outside.sleptMs], [3, [500, 1000]]);
      assert.equal((await device.cycle()).outcome, 'failed-before');
      assert.equal(downloads, 3);
      device.outside.image = () => bytes('fw-2');
      device.world.release('fw-2');
      assert.equal((await device.cycle()).outcome, 'reboot-required');
    }));

  test('a bad way postpones the update: a later cycle resumes it, and nobody calls it failed', () =>
    withDevice(async (device) => {
      device.outside.image = () => {
        throw new OtaError('DOWNLOAD_FAILED', { filename: 'fw-1', url: 'u', cause: 'reset' });
      };
      const postponed = await device.cycle();
      assert.ok(postponed.outcome === 'failed');
      assert.equal(postponed.failure.code, 'DOWNLOAD_FAILED');
      device.outside.image = () => bytes('fw-1');
      await complete(device);
      assert.equal(device.runningImage(4), 'fw-1');
    }));

  test('an image that cannot reach the Director is not confirmed, and the boot loader goes back', () =>
    withDevice(async (device) => {
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      device.outside.gateway = 'down';
      for (let boot = 0; boot < 2; boot += 1) {
        device.boot();
        assert.equal((await device.cycle()).outcome, 'unconfirmed');
        assert.equal(device.runningImage(4), 'fw-1');
      }
      device.boot();
      assert.equal(device.runningImage(7), 'factory');
      device.outside.gateway = 'up';
      const back = await device.cycle();
      assert.ok(back.outcome === 'failed', back.outcome);
      assert.equal(back.failure.code, 'ROLLED_BACK');
      assert.equal((await device.cycle()).outcome, 'failed-before');
    }));

  test('a Director that refuses manifests cannot keep a device from its updates', () =>
    withDevice(async (device) => {
      device.outside.gateway = 'refuses-manifests';
      await complete(device);
      assert.equal(device.runningImage(4), 'fw-1');
    }));

  test('a clock that jumped to 2100 finds everything expired and does not become the floor', () =>
    withDevice(async (device) => {
      const ports = await device.ports();
      const clock = { ...ports.clock, now: () => Date.UTC(2100, 0, 1) as Instant };
      await assert.rejects(
        runCycle({ ...ports, clock }),
        (error) => isOtaError(error) && error.code === 'METADATA_EXPIRED',
      );
      assert.equal(await ports.store.latestKnownTime(), 0);
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.equal(await ports.store.latestKnownTime(), NOW);
    }));

  test('a gateway that is down is an error, and changes nothing', () =>
    withDevice(async (device) => {
      device.outside.gateway = 'down';
      await assert.rejects(
        device.cycle(),
        (error) => isOtaError(error) && error.code === 'GATEWAY_UNREACHABLE',
      );
      assert.equal(await (await device.ports()).store.loadState(), undefined);
    }));

  test('power lost anywhere in a roll-back by hand ends in the image before, never back in the other', async () => {
    let calls = 0;
    for (const moment of ['before', 'after'] as const) {
      for (let call = 1; await rollsBackCut({ call, moment }); call += 1) calls += 1;
    }
    assert.ok(calls >= 10, `${String(calls)} cuts`);
  });

  test('what was rolled back by hand is not installed again by itself', () =>
    withDevice(async (device) => {
      await complete(device);
      const { outcome } = await rollBackByHand(await device.ports());
      assert.equal(outcome, 'reboot-required');
      device.boot();
      assert.equal(device.runningImage(7), 'factory');
      assert.equal((await device.cycle()).outcome, 'failed-before');
    }));
});
