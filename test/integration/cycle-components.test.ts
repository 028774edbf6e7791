/** Several images in one update: a Primary with two slots, and components with installers of their own. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { OtaError } from '../../agent/errors.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import { bytes, HEALTH_DEADLINE_MS, PRIMARY_KEY, TestDevice } from '../support/cycle-device.ts';
import { installationReport, readManifest } from '../support/sent-manifest.ts';
import { StreamingSlots, type Whims } from '../support/streaming-installer.ts';
import { PRIMARY } from '../support/uptane-world.ts';

const KERNEL: Ecu = { serial: 'kernel-1', hardwareId: 'hw-kernel' };
const APP: Ecu = { serial: 'app-1', hardwareId: 'hw-app' };
const ORDER = [KERNEL.serial, APP.serial];

interface Vehicle {
  readonly device: TestDevice;
  readonly kernel: Whims;
  readonly app: Whims;
  /** Steps of the components, in order. */
  readonly said: string[];
  readonly running: (ecu: Ecu) => string;
  /** The Primary and, where it needs one, the kernel. */
  readonly boot: () => void;
}

/** The kernel needs a reboot as the Primary does, the application none. */
async function withVehicle(act: (vehicle: Vehicle) => Promise<void>): Promise<void> {
  const said: string[] = [];
  const kernel: Whims = { needsReboot: true, said };
  const app: Whims = { said };
  const device = new TestDevice([
    [KERNEL, (directory) => new StreamingSlots(directory, kernel)],
    [APP, (directory) => new StreamingSlots(directory, app)],
  ]);
  const slots = (ecu: Ecu): StreamingSlots =>
    new StreamingSlots(join(device.directory.path, ecu.serial));
  try {
    device.world.director.custom = { correlationId: 'urn:here-ota:mtu:1' };
    // Not in the order of installation.
    for (const [name, ecu] of [
      ['fw-1', PRIMARY],
      ['app-1', APP],
      ['kernel-1', KERNEL],
    ] as const) {
      device.world.release(name, [ecu]);
    }
    await act({
      device,
      kernel,
      app,
      said,
      running: (ecu) => slots(ecu).running(),
      boot: () => {
        slots(KERNEL).boot();
        device.boot();
      },
    });
  } finally {
    await device.close();
  }
}

const installed = async (device: TestDevice): Promise<readonly (string | undefined)[]> =>
  (await (await device.ports()).store.inventory()).map((ecu) => ecu.installed?.filename);

/** The last report of how an update ended. */
function told(device: TestDevice): ReturnType<typeof installationReport> {
  const last = device.outside.manifests.findLast((text) => text.includes('installation_report'));
  return installationReport(last ?? '');
}

describe('an update of several images', () => {
  test('proves all before it activates one, in the order of the components, the Primary last', () =>
    withVehicle(async ({ device, said, running, boot }) => {
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      const [kernel, app] = ORDER;
      const each = (step: string): string[] => [`${step} ${kernel ?? ''}`, `${step} ${app ?? ''}`];
      assert.deepEqual(said, [...each('check'), ...each('prove'), ...each('activate')]);
      assert.deepEqual([running(KERNEL), running(APP)], ['factory', 'app-1']);
      boot();
      assert.equal((await device.cycle()).outcome, 'installed');
      assert.deepEqual([running(KERNEL), running(APP)], ['kernel-1', 'app-1']);
      assert.equal(device.runningImage(4), 'fw-1');
      assert.deepEqual(await installed(device), ['fw-1', 'kernel-1', 'app-1']);
      const { code, items } = told(device);
      assert.equal(code, 'OK');
      assert.deepEqual(
        items.map(({ ecu, success }) => [ecu, success]),
        [...ORDER, PRIMARY.serial].map((ecu) => [ecu, true]),
      );
    }));

  test('tells the Director in every manifest what runs on each ECU, signed by the Primary', () =>
    withVehicle(async ({ device, boot }) => {
      await device.cycle();
      boot();
      await device.cycle();
      const reports = readManifest(device.outside.manifests.at(-1) ?? '', PRIMARY_KEY);
      assert.deepEqual(
        Object.entries(reports)
          .map(([ecu, report]) => [ecu, report.installed_image.filepath])
          .sort(),
        [
          [APP.serial, 'app-1'],
          [KERNEL.serial, 'kernel-1'],
          [PRIMARY.serial, 'fw-1'],
        ],
      );
    }));

  test('that fails on one rolls the others back in reverse, and says which it was', () =>
    withVehicle(async ({ device, app, said, running, boot }) => {
      app.fails = 'activate';
      const outcome = await device.cycle();
      assert.ok(outcome.outcome === 'failed');
      assert.deepEqual([outcome.failure.code, outcome.failure.ecu], ['INSTALL_FAILED', APP.serial]);
      assert.deepEqual(
        said.filter((step) => step.startsWith('rollBack')),
        [`rollBack ${APP.serial}`, `rollBack ${KERNEL.serial}`],
      );
      boot();
      assert.deepEqual([running(KERNEL), running(APP)], ['factory', 'factory']);
      assert.equal(device.runningImage(7), 'factory');
      assert.deepEqual(await installed(device), [undefined, undefined, undefined]);
      const { code, items } = told(device);
      assert.equal(
        code,
        'hw-kernel:INSTALL_FAILED|hw-app:INSTALL_FAILED|hw-primary:INSTALL_FAILED',
      );
      const own = items.find(({ ecu }) => ecu === APP.serial);
      const other = items.find(({ ecu }) => ecu === KERNEL.serial);
      assert.match(own?.description ?? '', /^INSTALL_FAILED .*no activate today/u);
      assert.match(other?.description ?? '', /^ROLLED_BACK ecu=kernel-1 .*failed on app-1/u);
      assert.equal((await device.cycle()).outcome, 'failed-before');
    }));

  test('one image of which is wrong activates none of them', () =>
    withVehicle(async ({ device, said, running }) => {
      device.outside.image = (offset, { filename }) =>
        bytes((filename === 'app-1' ? 'APP-1' : filename).slice(offset));
      const outcome = await device.cycle();
      assert.ok(outcome.outcome === 'failed');
      assert.deepEqual(
        [outcome.failure.code, outcome.failure.ecu],
        ['IMAGE_HASH_MISMATCH', APP.serial],
      );
      assert.ok(!said.some((step) => step.startsWith('activate')));
      assert.deepEqual(device.outside.distrusted, ['app-1', 'app-1', 'app-1']);
      assert.deepEqual([running(KERNEL), running(APP)], ['factory', 'factory']);
    }));

  test('of which an installer cannot be taken back is reported as it is: that ECU keeps its image', () =>
    withVehicle(async ({ device, app, running, boot }) => {
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      boot();
      device.outside.sick = 'app.service is failed';
      app.fails = 'rollBack';
      assert.equal((await device.cycle()).outcome, 'unconfirmed');
      device.outside.uptimeMs = HEALTH_DEADLINE_MS;
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      boot();
      assert.equal((await device.cycle()).outcome, 'failed');
      assert.deepEqual([running(KERNEL), running(APP)], ['factory', 'app-1']);
      assert.deepEqual(await installed(device), [undefined, undefined, 'app-1']);
      const results = told(device).items.map(({ ecu, success }) => [ecu, success]);
      assert.deepEqual(results, [
        [KERNEL.serial, false],
        [APP.serial, true],
        [PRIMARY.serial, false],
      ]);
    }));

  test('of which one fell back takes the others back, over another reboot', () =>
    withVehicle(async ({ device, running, boot }) => {
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      // The Primary's two tries are used up before an agent runs; the kernel boots its new image.
      for (let tries = 0; tries < 3; tries += 1) boot();
      assert.deepEqual([running(KERNEL), device.runningImage(7)], ['kernel-1', 'factory']);
      assert.equal((await device.cycle()).outcome, 'reboot-required');
      assert.deepEqual([running(KERNEL), running(APP)], ['kernel-1', 'factory']);
      boot();
      const outcome = await device.cycle();
      assert.ok(outcome.outcome === 'failed');
      assert.deepEqual(
        [outcome.failure.code, outcome.failure.ecu],
        ['ROLLED_BACK', PRIMARY.serial],
      );
      assert.equal(running(KERNEL), 'factory');
    }));

  test('a roll-back by hand takes back what the last update changed, and nothing else', async () => {
    await withVehicle(async ({ device, running, boot }) => {
      await device.cycle();
      boot();
      await device.cycle();
      device.world.release('app-2', [APP]);
      assert.equal((await device.cycle()).outcome, 'installed');
      assert.equal(running(APP), 'app-2');
      const { rollBackByHand } = await import('../../agent/cycle/by-hand.ts');
      assert.equal((await rollBackByHand(await device.ports())).outcome, 'rolled-back');
      assert.deepEqual(await installed(device), ['fw-1', 'kernel-1', 'app-1']);
      assert.deepEqual([running(KERNEL), running(APP)], ['kernel-1', 'app-1']);
    });
  });

  test('an ECU that the configuration has no installer for is an error that says so', () =>
    withVehicle(async ({ device }) => {
      const ports = await device.ports();
      const installers = {
        of: (ecu: string) => {
          if (ecu !== APP.serial) return ports.installers.of(ecu);
          const cause = 'no [[component]] of the configuration has this serial';
          throw new OtaError('INSTALL_FAILED', { installer: '', ecu, cause });
        },
      };
      const outcome = await device.cycle({ installers });
      assert.ok(outcome.outcome === 'failed');
      assert.deepEqual([outcome.failure.code, outcome.failure.ecu], ['INSTALL_FAILED', APP.serial]);
    }));
});
