/** The `rauc` installer against RAUC itself, as Debian ships it: what it must do, and who may spoil it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { RaucInstaller } from '../../agent/io/installers/rauc/installer.ts';
import { installerContract, type InstallerFixture } from '../contract/installer.contract.ts';
import { RaucBench, silent, type Device, type Staged } from '../support/rauc-bench.ts';
import { attachLoop, detachLoop } from '../support/loop-device.ts';
import { makeVendor } from '../support/rauc-bundle.ts';
import { behindSocket } from '../support/separate-installer.ts';
import { raucProblem, type RaucOptions } from '../support/rauc-device.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const workshop = temporaryDirectory('rauc');
after(() => {
  workshop.remove();
});
const problem = raucProblem();
if (problem === undefined) suite(new RaucBench(workshop.path));
else test('rauc', { skip: problem }, () => undefined);

function suite(bench: RaucBench): void {
  const { update } = bench;

  const raucDevice = async (directory: string): Promise<InstallerFixture> => {
    const device = await bench.open({}, join(directory, 'device'));
    return {
      installer: device.installer,
      target: update.target,
      content: update.content,
      running: () => device.runs(),
      boot: () => {
        device.boot();
      },
      close: () => device.close(),
    };
  };
  installerContract('rauc', raucDevice);
  installerContract('separate, rauc', async (directory) =>
    behindSocket(directory, await raucDevice(directory)),
  );

  describe('rauc', () => {
    const open: Device[] = [];
    afterEach(async () => {
      for (const device of open.splice(0)) await device.close();
    });
    const device = async (changes: Partial<RaucOptions> = {}): Promise<Device> => {
      const opened = await bench.open(changes);
      open.push(opened);
      return opened;
    };

    /** The installation fails as RAUC says, and the factory's image still boots. */
    const refuses = async (at: Device, staged: Staged, cause: RegExp): Promise<void> => {
      await fails(at.installer.write(staged.target, staged.path, silent), cause);
      at.boot();
      assert.equal(at.runs(), 'factory');
      assert.equal(await at.restartAgent().booted(staged.target), false);
    };

    test('a bundle for other hardware is refused before any slot is touched', async () => {
      const other = bench.stage({ compatible: 'other-board' });
      const at = await device();
      await refuses(at, other, /compatible with other-board, and this device is test-board/u);
      assert.equal(at.environment()['BOOT_B_LEFT'], '3');
    });

    test('a bundle of another vendor is refused by RAUC’s own signature check', async () => {
      const foreign = bench.stage({}, makeVendor(bench.directory, 'foreign'));
      const at = await device();
      await refuses(at, foreign, /RAUC: signature verification failed/u);
      assert.equal(at.environment()['BOOT_B_LEFT'], '3');
    });

    test('a truncated bundle that was signed as such is refused by RAUC', async () => {
      const half = bench.keep(update.content.subarray(0, update.content.length - 1000));
      await refuses(await device(), half, /RAUC: Invalid bundle format: Signature size/u);
    });

    test('a bundle without an image for a slot of this device is refused', async () => {
      const other = bench.stage({ slotClass: 'coprocessor' });
      await refuses(await device(), other, /No target slot for class coprocessor/u);
    });

    test('what RAUC refuses early leaves the image of the other slot one to go back to', async () => {
      const at = await device();
      const foreign = bench.stage({}, makeVendor(bench.directory, 'late'));
      const refused = (): Promise<void> =>
        fails(at.installer.write(foreign.target, foreign.path, silent), /signature/u);
      await refused();
      await install(at, update);
      await at.installer.confirm(update.target);
      await refused();
      await at.installer.rollBack(update.target);
      at.boot();
      assert.equal(at.runs(), 'factory');
    });

    test('an image larger than its slot, and a slot that cannot be written, are INSTALL_FAILED with RAUC’s words', async () => {
      const disk = join(bench.directory, 'small-disk');
      writeFileSync(disk, Buffer.alloc(512 * 1024));
      const onLoop = async (how: readonly string[], cause: RegExp): Promise<Device> => {
        const loop = attachLoop(disk, ...how);
        try {
          const slots = { A: join(bench.directory, 'slot-a'), B: loop };
          writeFileSync(slots.A, '');
          const at = await device({ slots });
          await refuses(at, update, cause);
          return at;
        } finally {
          detachLoop(loop);
        }
      };
      const at = await onLoop([], /RAUC: .*No space left on device/u);
      assert.equal(at.environment()['BOOT_B_LEFT'], '0', 'a slot that was spoiled is bad');
      await onLoop(['-r'], /RAUC: .*(Operation not permitted|Permission denied|Read-only)/u);
    });

    test('a record that cannot be written stops before RAUC is asked', async () => {
      const at = await device();
      const mount = ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs'];
      const full = join(at.directory, 'full');
      execFileSync('mkdir', [full]);
      execFileSync('mount', [...mount, full]);
      try {
        const settings = { ...at.settings, recordPath: join(full, 'rauc-slots.json') };
        const installer = new RaucInstaller(settings);
        writeFileSync(join(full, 'filler'), Buffer.alloc(4096));
        await fails(installer.write(update.target, update.path, silent), /ENOSPC/u);
        execFileSync('mount', ['-o', 'remount,ro', full]);
        await fails(installer.write(update.target, update.path, silent), /EROFS/u);
        assert.equal(at.environment()['BOOT_B_LEFT'], '3');
      } finally {
        execFileSync('umount', [full]);
      }
    });

    test('a damaged record names itself and what to do', async () => {
      const at = await device();
      const { recordPath } = at.settings;
      writeFileSync(recordPath, '{"slots":{"rootfs.1":{"image":1}}}');
      await fails(at.installer.check(update.target), /rauc-slots\.json is damaged .* remove it/u);
      truncateSync(recordPath);
      await fails(at.installer.booted(update.target), /is damaged/u);
    });

    test('while a roll-back waits for its reboot, nothing is written over the image to go back to', async () => {
      const at = await device();
      await install(at, update);
      await at.installer.rollBack(update.target);
      const next = bench.stage({ image: Buffer.from('third image') });
      const cause =
        /slot rootfs\.1 runs, and the boot loader would choose rootfs\.0: reboot first/u;
      await fails(at.installer.check(next.target), cause);
      await fails(at.installer.write(next.target, next.path, silent), cause);
      at.boot();
      assert.equal(at.runs(), 'factory');
    });

    test('a boot loader that RAUC cannot ask is found before the download', async () => {
      const at = await device();
      writeFileSync(join(at.directory, 'uboot.env'), Buffer.alloc(0x8000));
      await fails(at.installer.check(update.target), /D-Bus: GetPrimary of de\.pengutronix\.rauc/u);
      await fails(at.installer.describe(), /GetPrimary/u);
    });

    test('a slot that somebody else has installed to holds no image of the agent', async () => {
      const at = await device();
      await install(at, update);
      await at.installer.confirm(update.target);
      assert.equal(await at.installer.booted(update.target), true);
      const status = join(at.directory, 'rauc.status');
      at.killRauc();
      writeFileSync(
        status,
        readFileSync(status, 'utf8').replace('installed.count=1', 'installed.count=2'),
      );
      assert.equal(await at.installer.booted(update.target), false);
    });

    test('a trial that is never confirmed ends on the slot that was good', async () => {
      const at = await device();
      await install(at, update);
      for (let boot = 0; boot < 2; boot += 1) {
        await at.installer.noteGoodBoot();
        assert.equal(at.runs(), 'update', 'a boot on trial counts');
        at.boot();
      }
      at.boot();
      assert.equal(at.runs(), 'factory');
      assert.equal(await at.installer.booted(update.target), false);
      await at.installer.rollBack(update.target);
      assert.equal((await at.installer.describe())['primary'], 'rootfs.0');
      assert.equal(at.environment()['BOOT_B_LEFT'], '0');
    });

    test('RAUC that chooses by itself what it has installed is said, and taken back', async () => {
      const at = await device({ system: '' });
      const { activation = '' } = await at.installer.describe();
      assert.match(activation, /^by RAUC, .* set activate-installed=false/u);
      await at.installer.write(update.target, update.path, silent);
      assert.equal(at.environment()['BOOT_ORDER'], 'A');
      at.boot();
      assert.equal(at.runs(), 'factory');
    });

    test('an image that RAUC chose before power failed is not installed over the one that was good', async () => {
      const at = await device({ system: '' });
      const noted = await at.installer.describe();
      assert.equal(noted['primary'], 'rootfs.0');
      await at.installer.write(update.target, update.path, silent);
      // As if power had failed between RAUC's choice and the agent's next step.
      const { stamps } = recordOf(at).slots['rootfs.1'] ?? {};
      const begun = { image: imageOf(update), from: 'rootfs.0', stamps };
      writeFileSync(at.settings.recordPath, JSON.stringify({ slots: {}, begun }));
      at.mark('active', 'rootfs.1');
      at.boot();
      assert.equal(at.runs(), 'update');
      const installer = at.restartAgent();
      await installer.noteGoodBoot();
      await installer.write(update.target, update.path, silent);
      assert.equal(await installer.booted(update.target), true);
      await installer.activate(update.target);
      await installer.rollBack(update.target);
      at.boot();
      assert.equal(at.runs(), 'factory');
    });

    test('the settings of RAUC that decide are described', async () => {
      const at = await device();
      await install(at, update);
      const { 'slot_rootfs.1': slot = '', ...rest } = await at.installer.describe();
      assert.match(slot, /^boot name B, .*, booted, good, sha256:/u);
      assert.equal(rest['booted'], 'rootfs.1');
      assert.equal(rest['compatible'], 'test-board');
      assert.equal(rest['activation'], 'by the agent');
    });
  });
}

async function install(at: Device, { target, path }: Staged): Promise<void> {
  await at.installer.check(target);
  await at.installer.write(target, path, silent);
  await at.installer.activate(target);
  at.boot();
  assert.equal(at.runs(), 'update');
}

async function fails(act: Promise<unknown>, cause: RegExp): Promise<void> {
  await assert.rejects(act, (error: unknown) => {
    assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED', String(error));
    assert.match(error.details.cause, cause);
    return true;
  });
}

interface Noted {
  readonly slots: Readonly<Record<string, { readonly stamps: unknown }>>;
}

function recordOf(at: Device): Noted {
  return JSON.parse(readFileSync(at.settings.recordPath, 'utf8')) as Noted;
}

function imageOf({ target }: Staged): string {
  return `sha256:${target.hashes.get('sha256') ?? ''}`;
}
