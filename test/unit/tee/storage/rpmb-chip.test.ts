/** The file of an emulated RPMB. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { openRpmbDevice, type RpmbDevice } from '../../../tee/secure-world/storage/rpmb/device.ts';
import {
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
} from '../../../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from './crash-disk.ts';
import { SMALL_CHIP, throwsResult } from './fixture.ts';
import { counterOf, frame, perform, readBlocks, signedWrite } from './rpmb-host.ts';

const KEY = Buffer.alloc(32, 0x5a);
const CHIP = { ...SMALL_CHIP, relWrSecC: 4 };

function programmed(disk: CrashDisk): RpmbDevice {
  const device = openRpmbDevice(disk, CHIP);
  assert.equal(perform(device, frame({ type: 1, mac: KEY })).result, 0);
  return device;
}

function data(blocks: number, fill: number): Buffer {
  return Buffer.concat(
    Array.from({ length: blocks }, (_, index) => Buffer.alloc(256, fill + index)),
  );
}

describe('the file of an RPMB', () => {
  test('keeps its size, and its parameters before those that it is opened with', () => {
    const disk = new CrashDisk();
    const device = programmed(disk);
    const size = disk.files().get('rpmb')?.byteLength;
    for (let counter = 0; counter < 20; counter += 1) {
      perform(device, signedWrite(KEY, { counter, address: counter, data: data(8, counter) }));
    }
    assert.equal(disk.files().get('rpmb')?.byteLength, size);
    const again = openRpmbDevice(disk, { cid: Buffer.alloc(16), sizeMult: 3, relWrSecC: 1 });
    assert.deepEqual(again.parameters, { ...CHIP, cid: new Uint8Array(CHIP.cid) });
  });

  test('is refused when it is not a whole chip (TEE_ERROR_CORRUPT_OBJECT)', () => {
    const disk = new CrashDisk();
    programmed(disk);
    const whole = disk.files().get('rpmb') ?? assert.fail();
    const flipped = (at: number): Uint8Array => {
      const copy = whole.slice();
      copy[at] = (copy[at] ?? 0) ^ 1;
      return copy;
    };
    const bothSlots = flipped(4096 + 40);
    bothSlots.fill(0xff, 8192, 8200);
    const bad = [
      new Uint8Array(0),
      whole.subarray(0, 100),
      whole.subarray(0, whole.length - 256),
      flipped(0),
      flipped(8),
      flipped(20),
      flipped(40),
      bothSlots,
    ];
    for (const bytes of bad) {
      const files = new Map([['rpmb', bytes]]);
      const damaged = CrashDisk.holding(files);
      throwsResult(() => openRpmbDevice(damaged, CHIP), TEE_ERROR_CORRUPT_OBJECT);
      assert.deepEqual(damaged.files(), files);
    }
  });

  test('is not made for parameters that no chip has', () => {
    const impossible = [
      { cid: new Uint8Array(15) },
      { sizeMult: 0 },
      { sizeMult: 129 },
      { sizeMult: 1.5 },
      { relWrSecC: 0 },
      { relWrSecC: 33 },
    ];
    for (const each of impossible) {
      const disk = new CrashDisk();
      assert.throws(() => openRpmbDevice(disk, { ...CHIP, ...each }), RangeError);
      assert.deepEqual(disk.names(), []);
    }
  });

  test('that cannot be written makes a write fail with 5, and the next one works', () => {
    for (let failing = 0; failing < 3; failing += 1) {
      const disk = new CrashDisk();
      const device = programmed(disk);
      perform(device, signedWrite(KEY, { counter: 0, address: 9, data: data(8, 1) }));
      const from = disk.attempts;
      disk.failure = (_, attempt) =>
        attempt === from + failing ? TEE_ERROR_STORAGE_NOT_AVAILABLE : undefined;
      const write = signedWrite(KEY, { counter: 1, address: 10, data: data(8, 20) });
      const failed = perform(device, write);
      assert.deepEqual([failed.result, failed.counter], [5, 1]);
      disk.failure = () => undefined;
      assert.equal(perform(device, write).result, 0);
      for (const opened of [device, openRpmbDevice(disk.copy(), CHIP)]) {
        assert.equal(counterOf(opened), 2);
        const expected = Buffer.concat([data(1, 1), data(8, 20)]);
        assert.deepEqual(readBlocks(opened, 9, 9), expected);
      }
    }
  });
});
