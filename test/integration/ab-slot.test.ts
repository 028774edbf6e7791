/** The contract with every boot loader, each switched on by an emulation that was written from its documentation. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';

import { installerContract } from '../contract/installer.contract.ts';
import {
  attachDisk,
  download,
  FACTORY,
  ignore,
  openAbSlot,
  TRIES,
  UPDATE,
} from '../support/ab-slot.ts';
import {
  take,
  withGrub,
  withMarker,
  withSystemdBoot,
  withUboot,
} from '../support/ab-slot-devices.ts';
import { readMarkerValues } from '../support/boot-loader.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { detachLoop, loopProblem } from '../support/loop-device.ts';
import { targetFor } from '../support/targets.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const KINDS = {
  marker: withMarker,
  'marker, hashed by a thread': (directory: string) =>
    withMarker(directory, undefined, { threadFromBytes: 0 }),
  'U-Boot, BOOT_ORDER': (directory: string) => withUboot(directory, 'boot-order'),
  'U-Boot, bootcount': (directory: string) => withUboot(directory, 'bootcount'),
  GRUB: withGrub,
  'systemd-boot': withSystemdBoot,
};

for (const [name, open] of Object.entries(KINDS)) installerContract(`ab-slot, ${name}`, open);

const noLoop = loopProblem();
if (noLoop === undefined) {
  installerContract('ab-slot on block devices', (directory) => {
    const bytes = 8 * 1024 * 1024;
    const slots = {
      a: attachDisk(join(directory, 'disk-a'), bytes, FACTORY),
      b: attachDisk(join(directory, 'disk-b'), bytes),
    };
    return {
      ...withMarker(directory, slots),
      close: () => {
        for (const device of [slots.a, slots.b]) detachLoop(device);
      },
    };
  });
} else {
  test('ab-slot on block devices', { skip: noLoop }, () => undefined);
}

function temporary(t: TestContext): string {
  const directory = temporaryDirectory('ab-slot');
  t.after(() => {
    directory.remove();
  });
  return directory.path;
}

for (const [name, open] of Object.entries(KINDS)) {
  describe(`ab-slot, ${name}`, () => {
    test('a trial that is never confirmed ends, after all its tries, on the slot that was good', async (t) => {
      const device = open(temporary(t));
      await take(device);
      await device.installer.activate(device.target);
      for (let boot = 0; boot < TRIES; boot += 1) {
        device.boot();
        assert.equal(device.running(), 'update');
      }
      device.boot();
      assert.equal(device.running(), 'factory');
      assert.equal(await device.installer.booted(device.target), false);
      await device.installer.rollBack(device.target);
      for (let boot = 0; boot < 2 * TRIES + 1; boot += 1) {
        device.boot();
        assert.equal(device.running(), 'factory');
      }
    });

    test('an image that is confirmed in the last of its tries stays', async (t) => {
      const device = open(temporary(t));
      await take(device);
      await device.installer.activate(device.target);
      for (let boot = 0; boot < TRIES; boot += 1) device.boot();
      await device.installer.confirm(device.target);
      for (let boot = 0; boot < 2 * TRIES + 1; boot += 1) {
        device.boot();
        assert.equal(device.running(), 'update');
      }
    });

    test('nothing boots the other slot from before its first byte changes', async (t) => {
      const directory = temporary(t);
      const device = open(directory);
      await take(device);
      await device.installer.activate(device.target);
      const next = Buffer.alloc(UPDATE.byteLength, 'third');
      const during: string[] = [];
      const looked = async function* (offset: number): AsyncGenerator<Uint8Array> {
        for (let boot = 0; boot < 6; boot += 1) {
          device.boot();
          during.push(device.running());
        }
        yield* download(next, offset);
        throw new Error('the power fails');
      };
      await assert.rejects(device.installer.receive(targetFor(next), looked, ignore));
      for (let boot = 0; boot < 6; boot += 1) {
        device.boot();
        during.push(device.running());
      }
      assert.deepEqual([...new Set(during)], ['factory']);
      await assert.rejects(device.installer.activate(device.target));
      await assert.rejects(device.installer.activate(targetFor(next)));
    });

    test('there is no going back to a slot that an update has spoiled', async (t) => {
      const device = open(temporary(t));
      const { installer, target } = device;
      await take(device);
      await installer.activate(target);
      device.boot();
      await installer.confirm(target);
      const third = targetFor(Buffer.from('third'));
      await assert.rejects(installer.receive(third, () => download(Buffer.from('thurd')), ignore));
      await rejectsCode(installer.rollBack(target), 'INSTALL_FAILED', {
        installer: 'ab-slot',
        ecu: 'ecu-1',
        cause: 'there is no image to go back to: slot a holds none that ran',
      });
      for (let boot = 0; boot < 5; boot += 1) device.boot();
      assert.equal(device.running(), 'update');
    });
  });
}

describe('ab-slot', () => {
  test('a slot is read back again by a process that did not prove it itself', async (t) => {
    const directory = temporary(t);
    const device = withMarker(directory);
    await take(device);
    const slot = join(directory, 'slot-b');
    const spoiled = readFileSync(slot);
    spoiled[12] = (spoiled[12] ?? 0) ^ 1;
    writeFileSync(slot, spoiled);
    const slots = { a: join(directory, 'slot-a'), b: slot };
    const board = { marker: device.marker, booted: join(directory, 'booted'), bootId: '' };
    const later = openAbSlot(slots, board);
    await assert.rejects(later.activate(device.target), { code: 'IMAGE_HASH_MISMATCH' });
    assert.equal(readMarkerValues(device.marker)['state'], 'good');
  });

  test('a boot loader that names no slot is an error that says what to do', async (t) => {
    const directory = temporary(t);
    const { installer, target } = withMarker(directory);
    const booted = join(directory, 'booted');
    writeFileSync(booted, 'c\n');
    await rejectsCode(installer.check(target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${booted} says "c", want a or b: the boot loader or initramfs must write the booted slot there`,
    });
  });

  test('a kernel command line that names no slot is one, too, where / is on neither', async (t) => {
    const directory = temporary(t);
    const device = withGrub(directory);
    const commandLine = join(directory, 'cmdline');
    writeFileSync(commandLine, 'quiet root=/dev/sda1');
    await rejectsCode(device.installer.check(device.target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${commandLine} names no slot, and / is on neither: pass ota.slot=a or ota.slot=b to the kernel, or set installer.booted_file`,
    });
    writeFileSync(commandLine, 'ota.slot=b ota.slot=c');
    await rejectsCode(device.installer.check(device.target), 'INSTALL_FAILED', {
      installer: 'ab-slot',
      ecu: 'ecu-1',
      cause: `${commandLine} names slot "c", want a or b`,
    });
  });

  test('it says what it found', async (t) => {
    const directory = temporary(t);
    const device = withGrub(directory);
    await take(device);
    assert.deepEqual(await device.installer.describe(), {
      booted: 'a',
      active: 'a',
      state: 'good',
      choice: device.grub.environment,
      slot_a: join(directory, 'slot-a'),
      slot_b: join(directory, 'slot-b'),
      image_a: 'unknown',
      image_b: `sha256:${device.target.hashes.get('sha256') ?? ''}`,
      read_back: 'direct',
    });
  });
});
