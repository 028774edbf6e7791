/** What happens to new images that do not do what the device is for, and that loops end. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { runCycle } from '../../agent/cycle/cycle.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import { cuttingPorts, PowerCut } from '../support/cut-ports.ts';
import { HEALTH_DEADLINE_MS, TestDevice } from '../support/cycle-device.ts';
import { installationReport } from '../support/sent-manifest.ts';
import { StreamingSlots, type Whims } from '../support/streaming-installer.ts';
import { NOW, PRIMARY } from '../support/uptane-world.ts';

const APP: Ecu = { serial: 'app-1', hardwareId: 'hw-app' };
const MINUTE_MS = 60_000;

async function withDevice(act: (device: TestDevice, app: Whims) => Promise<void>): Promise<void> {
  const app: Whims = {};
  const device = new TestDevice([[APP, (directory) => new StreamingSlots(directory, app)]]);
  try {
    await act(device, app);
  } finally {
    await device.close();
  }
}

function assign(device: TestDevice, name: string, ecu: Ecu, correlation = 1): void {
  device.world.director.custom = { correlationId: `urn:here-ota:mtu:${String(correlation)}` };
  device.world.release(name, [ecu]);
}

const running = (device: TestDevice): string =>
  new StreamingSlots(join(device.directory.path, APP.serial)).running();

describe('a new image that a check of health finds wrong', () => {
  test('stays on trial until the deadline, and is confirmed when the check passes before it', () =>
    withDevice(async (device) => {
      assign(device, 'fw-1', PRIMARY);
      await device.cycle();
      device.boot();
      device.outside.sick = 'starting';
      device.outside.uptimeMs = 5000;
      assert.equal((await device.cycle()).outcome, 'unconfirmed');
      // Counted from when it was first asked in this boot, not from the boot.
      device.outside.uptimeMs = 5000 + HEALTH_DEADLINE_MS - 1;
      assert.equal((await device.cycle()).outcome, 'unconfirmed');
      device.outside.sick = undefined;
      assert.equal((await device.cycle()).outcome, 'installed');
    }));

  test('is rolled back at the deadline, over a reboot, and reported with the check and what it said', () =>
    withDevice(async (device) => {
      assign(device, 'fw-1', PRIMARY);
      await device.cycle();
      device.boot();
      device.outside.sick = 'exit code 1: no modem';
      assert.equal((await device.cycle()).outcome, 'unconfirmed');
      device.outside.uptimeMs = HEALTH_DEADLINE_MS;
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.equal(device.runningImage(4), 'fw-1');
      const before = device.outside.manifests.length;
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.equal(device.outside.manifests.length, before, 'told before it was so');
      device.boot();
      assert.equal(device.runningImage(7), 'factory');
      const outcome = await device.cycle();
      assert.ok(outcome.outcome === 'failed');
      const why = 'HEALTH_CHECK_FAILED check=c said="exit code 1: no modem"';
      assert.equal(outcome.failure.code, 'ROLLED_BACK');
      assert.deepEqual(outcome.failure.details, {
        ecu: PRIMARY.serial,
        cause: `not healthy within 60 s: ${why}`,
      });
      const told = installationReport(device.outside.manifests.at(before) ?? '');
      assert.equal(told.items[0]?.description, outcome.failure.description);
      assert.equal((await device.cycle()).outcome, 'failed-before');
    }));

  test('is rolled back without a reboot where it needed none', () =>
    withDevice(async (device) => {
      assign(device, 'app-1', APP);
      device.outside.sick = 'app.service is failed';
      assert.equal((await device.cycle()).outcome, 'unconfirmed');
      assert.equal(running(device), 'app-1');
      device.outside.uptimeMs = HEALTH_DEADLINE_MS;
      const outcome = await device.cycle();
      assert.ok(outcome.outcome === 'failed');
      assert.equal(outcome.failure.code, 'ROLLED_BACK');
      assert.equal(running(device), 'factory');
      assert.equal((await device.cycle()).outcome, 'failed-before');
    }));

  test('is rolled back as well when the Director cannot be reached from it', () =>
    withDevice(async (device) => {
      assign(device, 'fw-1', PRIMARY);
      await device.cycle();
      device.boot();
      device.outside.gateway = 'down';
      assert.equal((await device.cycle()).outcome, 'unconfirmed');
      device.outside.uptimeMs = HEALTH_DEADLINE_MS;
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      device.boot();
      assert.equal(device.runningImage(7), 'factory');
    }));

  test('that its installer cannot confirm is one, too', () =>
    withDevice(async (device, app) => {
      assign(device, 'app-1', APP);
      app.fails = 'confirm';
      assert.equal((await device.cycle()).outcome, 'unconfirmed');
      device.outside.uptimeMs = HEALTH_DEADLINE_MS;
      const outcome = await device.cycle();
      assert.ok(outcome.outcome === 'failed');
      assert.match(String(outcome.failure.details['cause']), /no confirm today/u);
      assert.equal(running(device), 'factory');
    }));

  test('is confirmed by a person without any check', () =>
    withDevice(async (device) => {
      assign(device, 'fw-1', PRIMARY);
      await device.cycle();
      device.boot();
      device.outside.sick = 'not yet';
      const { confirmByHand } = await import('../../agent/cycle/by-hand.ts');
      assert.equal((await confirmByHand(await device.ports())).outcome, 'installed');
    }));
});

describe('a failed image', () => {
  /** @returns the outcome of the cycle that installs, and of what follows at its deadline */
  const fail = async (device: TestDevice): Promise<string> => {
    device.outside.uptimeMs = 0;
    const { outcome } = await device.cycle();
    if (outcome !== 'unconfirmed') return outcome;
    device.outside.uptimeMs = HEALTH_DEADLINE_MS;
    return (await device.cycle()).outcome;
  };

  test('is tried again on a new assignment, then only after a back-off that grows', () =>
    withDevice(async (device) => {
      device.outside.sick = 'never well';
      assign(device, 'app-1', APP, 1);
      assert.equal(await fail(device), 'failed');
      assert.equal(await fail(device), 'failed-before');
      assign(device, 'app-1', APP, 2);
      assert.equal(await fail(device), 'failed');
      assign(device, 'app-1', APP, 3);
      const deferred = await device.cycle();
      assert.ok(deferred.outcome === 'deferred');
      assert.equal(deferred.until, NOW + 15 * MINUTE_MS);
      device.outside.wallMs = NOW + 15 * MINUTE_MS;
      assert.equal(await fail(device), 'failed');
      assign(device, 'app-1', APP, 4);
      const again = await device.cycle();
      assert.ok(again.outcome === 'deferred');
      assert.equal(again.until, NOW + 45 * MINUTE_MS);
    }));

  test('keeps no other image waiting, and is forgotten when it went well', () =>
    withDevice(async (device) => {
      device.outside.sick = 'never well';
      for (const correlation of [1, 2]) {
        assign(device, 'app-1', APP, correlation);
        assert.equal(await fail(device), 'failed');
      }
      device.outside.sick = undefined;
      assign(device, 'app-2', APP, 3);
      assert.equal((await device.cycle()).outcome, 'installed');
      device.outside.wallMs = NOW + 15 * MINUTE_MS;
      assign(device, 'app-1', APP, 4);
      assert.equal((await device.cycle()).outcome, 'installed');
      assert.equal((await (await device.ports()).store.failedImages()).size, 0);
    }));
});

describe('what takes the agent with it', () => {
  /** The power fails at `name` in every cycle. */
  const crash = async (device: TestDevice, name: string): Promise<'cut' | 'not reached'> => {
    const { ports } = cuttingPorts(await device.ports(), { call: name, moment: 'before' });
    try {
      await runCycle(ports);
      return 'not reached';
    } catch (error) {
      assert.ok(error instanceof PowerCut, String(error));
      return 'cut';
    }
  };

  for (const step of ['write', 'activate'] as const) {
    test(`is given up after five times: ${step}`, () =>
      withDevice(async (device) => {
        assign(device, 'fw-1', PRIMARY);
        let times = 0;
        while ((await crash(device, `installer/${PRIMARY.serial}.${step}#1`)) === 'cut') times += 1;
        assert.equal(times, 5);
        assert.equal((await device.cycle()).outcome, 'failed-before');
        const [last] = await (await device.ports()).store.history();
        assert.equal(last?.code, 'INSTALL_FAILED');
        assert.equal(device.runningImage(7), 'factory');
      }));
  }

  test('is given up after five times: going back, and what runs then is reported', () =>
    withDevice(async (device, app) => {
      assign(device, 'app-1', APP);
      app.fails = 'activate';
      let times = 0;
      while ((await crash(device, `installer/${APP.serial}.rollBack#1`)) === 'cut') times += 1;
      assert.equal(times, 5);
      const [last] = await (await device.ports()).store.history();
      assert.equal(last?.code, 'INSTALL_FAILED');
    }));

  test('a device that reboots by itself before it is found healthy goes back after twenty boots', () =>
    withDevice(async (device, app) => {
      app.needsReboot = true;
      assign(device, 'app-1', APP);
      device.outside.sick = 'reboots before it is asked again';
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      const slots = new StreamingSlots(join(device.directory.path, APP.serial));
      let boots = 0;
      do {
        slots.boot();
        device.boot();
        boots += 1;
      } while ((await device.cycle()).outcome === 'unconfirmed');
      assert.equal(boots, 21);
      slots.boot();
      device.boot();
      assert.equal((await device.cycle()).outcome, 'failed');
      assert.equal(running(device), 'factory');
    }));
});
