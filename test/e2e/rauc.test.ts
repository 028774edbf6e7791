/** The daemon updates a device with RAUC, through a reboot, and reports to a Director. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { endChild } from '../support/end-child.ts';
import { demandStops } from '../support/processes.ts';
import { RaucBench, type Device } from '../support/rauc-bench.ts';
import { pollNow } from '../support/poll-now.ts';
import { raucProblem } from '../support/rauc-device.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { DEVICE, describe as said, openWorld, type World } from '../support/world.ts';

const workshop = temporaryDirectory('rauc-e2e');
after(() => {
  workshop.remove();
});
const problem = raucProblem();
if (problem === undefined) suite(new RaucBench(workshop.path));
else test('a device with RAUC', { skip: problem }, () => undefined);

function suite(bench: RaucBench): void {
  describe('a device with RAUC', () => {
    let world: World;
    let device: Device;
    let running: ChildProcess | undefined;
    before(async () => {
      world = await openWorld('provisioned');
      device = await bench.open();
      world.device.configure({
        installer: {
          type: 'rauc',
          rauc_bus: device.address,
          rauc_system_conf: device.systemConf,
        },
        boot: { boot_id_file: device.bootId },
      });
    });
    afterEach(async () => {
      await stop();
    });
    after(async () => {
      await device.close();
      await world.close();
    });

    const stop = (): Promise<void> => endChild(running, 'SIGTERM');
    const until = async (
      what: string,
      holds: (status: Record<string, unknown>) => boolean,
    ): Promise<Record<string, unknown>> => {
      let last: Record<string, unknown> = {};
      for (let attempt = 0; attempt < 200; attempt += 1) {
        last = (await world.device.agent(['status'])).json;
        if (holds(last)) return last;
        await setTimeout(50);
      }
      return assert.fail(`the daemon never came to ${what}: ${JSON.stringify(last)}`);
    };
    /** Starts the daemon, and waits until it rests at `state`. */
    const runUntil = async (state: string): Promise<Record<string, unknown>> => {
      running = world.device.start(['run']);
      const isResting = (json: Record<string, unknown>): boolean =>
        json['state'] === state && typeof json['nextPollAt'] === 'string';
      return until(state, isResting);
    };

    test('doctor says which slot booted and who chooses a new image', async () => {
      const { json } = await world.device.agent(['doctor']);
      const checks = json['checks'] as readonly { name: string; status: string; detail: string }[];
      const installer = checks.find(({ name }) => name === 'installer');
      const detail = 'rauc: booted rootfs.0, next rootfs.0, new images are chosen by the agent';
      assert.deepEqual([installer?.status, installer?.detail], ['ok', detail]);
    });

    test('the daemon installs a bundle, is rebooted, confirms the slot that booted, and reports', async () => {
      await world.offer('rauc.img', bench.update.content);
      await runUntil('awaiting-boot');
      await stop();
      assert.equal(device.runs(), 'factory');
      assert.equal(device.boot(), 'B');

      const { lastUpdate } = await runUntil('idle');
      assert.equal((lastUpdate as Record<string, unknown>)['code'], 'OK');
      assert.equal(device.runs(), 'update');
      assert.equal(device.environment()['BOOT_B_LEFT'], '3', 'marked good');
      assert.deepEqual(await lastReported(world), [200, 'rauc.img']);
      await stop();
    });

    test('each later boot is told to U-Boot, which counts it', async () => {
      assert.equal(device.boot(), 'B');
      assert.equal(device.environment()['BOOT_B_LEFT'], '2');
      const result = await world.device.agent(['confirm']);
      assert.equal(result.exit, 0, said(result));
      assert.equal(device.environment()['BOOT_B_LEFT'], '3');
    });

    test('a bundle for other hardware, signed by both repositories, is exit 40 and reported, and the device goes on', async () => {
      const { content } = bench.stage({ compatible: 'other-board' });
      await world.offer('other.img', content);
      const result = await world.device.agent(['once']);
      assert.equal(result.exit, 40, said(result));
      assert.equal(result.json['code'], 'INSTALL_FAILED');
      assert.match(JSON.stringify(result.json['details']), /compatible with other-board/u);
      assert.equal(device.boot(), 'B');
      assert.deepEqual(await lastReported(world), [200, 'rauc.img']);
    });

    test('without RAUC a poll still reports; the update waits, and what is missing is said', async () => {
      await device.stopBus();
      const result = await world.device.agent(['once']);
      assert.equal(result.exit, 0, said(result));
      assert.match(result.stderr, /D-Bus: /u);
      await device.startBus();
    });

    test('rolling back by hand brings the image before back', async () => {
      const back = await world.device.agent(['rollback']);
      assert.equal(back.exit, 11, said(back));
      assert.equal(device.boot(), 'A');
      assert.equal(device.runs(), 'factory');
    });

    /** The agent stops while RAUC has the new image in its slot, and has not noted it. */
    const stopWhileRaucInstalls = async (name: string): Promise<void> => {
      await runUntil('idle');
      device.holdHooks();
      await world.offer(name, bench.stage({}).content);
      await pollNow(world);
      await device.held();
      assert.equal(device.mounts().length, 1, 'the bundle');
      assert.ok(running !== undefined);
      await demandStops(running);
      assert.equal(device.operation(), 'installing', 'RAUC is not the agent’s to end');
    };

    test('stopped while RAUC installs, the agent is gone in 2 s, and later waits for RAUC and installs anew', async () => {
      await stopWhileRaucInstalls('stopped.img');
      running = world.device.start(['run']);
      await until('the wait for RAUC', ({ state }) => state === 'writing');
      await demandStops(running);
      device.releaseHooks();
      await runUntil('awaiting-boot');
      await stop();
      assert.deepEqual([device.operation(), device.mounts()], ['idle', []]);
      assert.equal(device.boot(), 'B');
      await demandUpdated('stopped.img');
    });

    test(
      'RAUC that chose the image by itself while the agent was stopped, and was rebooted into it, is believed and confirmed',
      { timeout: 120_000 },
      async () => {
        assert.equal((await world.device.agent(['rollback'])).exit, 11);
        assert.equal(device.boot(), 'A');
        device.configure({ keyring: bench.vendor.certificate, system: 'activate-installed=true' });
        device.killRauc();
        await stopWhileRaucInstalls('chosen.img');
        device.releaseHooks();
        while (device.operation() !== 'idle') await setTimeout(20);
        assert.deepEqual(device.mounts(), []);
        assert.equal(device.boot(), 'B');
        await demandUpdated('chosen.img');
      },
    );

    const demandUpdated = async (name: string): Promise<void> => {
      const { lastUpdate } = await runUntil('idle');
      assert.equal((lastUpdate as Record<string, unknown>)['code'], 'OK');
      assert.equal(device.runs(), 'update');
      assert.equal(device.environment()['BOOT_B_LEFT'], '3', 'marked good');
      assert.deepEqual(await lastReported(world), [200, name]);
      await stop();
    };
  });
}

interface Manifest {
  readonly signed: {
    readonly ecu_version_manifests: Readonly<
      Record<
        string,
        { readonly signed: { readonly installed_image: { readonly filepath: string } } }
      >
    >;
  };
}

/** What the Director made of the last manifest, and which image that said to run. */
async function lastReported(
  world: World,
): Promise<readonly [number | undefined, string | undefined]> {
  const records = (await world.director.control(
    'GET',
    `/devices/${DEVICE}/manifests`,
  )) as readonly {
    readonly verdict: { readonly status: number };
    readonly manifest: Manifest;
  }[];
  const last = records.at(-1);
  const [report] = Object.values(last?.manifest.signed.ecu_version_manifests ?? {});
  return [last?.verdict.status, report?.signed.installed_image.filepath];
}
