/** An emulated RPMB against a host that it must not trust. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { openRpmbDevice, type RpmbDevice } from '../../../tee/secure-world/storage/rpmb/device.ts';
import { CrashDisk } from './crash-disk.ts';
import { SMALL_CHIP } from './fixture.ts';
import {
  ask,
  counterOf,
  frame,
  macOf,
  parse,
  perform,
  readBlocks,
  signed,
  signedWrite,
} from './rpmb-host.ts';

const KEY = Buffer.alloc(32, 0x5a);
const NONCE = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const BLOCKS = 512;
const CHIP = { ...SMALL_CHIP, relWrSecC: 4 };

function blank(disk = new CrashDisk()): RpmbDevice {
  return openRpmbDevice(disk, CHIP);
}

function programmed(disk = new CrashDisk()): RpmbDevice {
  const device = blank(disk);
  assert.equal(perform(device, frame({ type: 1, mac: KEY })).result, 0);
  return device;
}

function data(blocks: number, fill: number): Buffer {
  return Buffer.concat(
    Array.from({ length: blocks }, (_, index) => Buffer.alloc(256, fill + index)),
  );
}

/** Everything a host can learn of a chip. */
function stateOf(device: RpmbDevice): { readonly counter: number; readonly content: Buffer } {
  return { counter: counterOf(device), content: readBlocks(device, 0, BLOCKS) };
}

describe('an RPMB without a key', () => {
  test('answers 7 to every request but its programming, without a MAC, and keeps nothing', () => {
    const disk = new CrashDisk();
    const device = blank(disk);
    const before = disk.files();
    const write = signedWrite(KEY, { counter: 0, address: 0, data: data(1, 1) });
    const none = Buffer.alloc(32);
    const counter = ask(device, frame({ type: 2, nonce: NONCE }));
    assert.deepEqual([counter.type, counter.result, counter.mac], [0x200, 7, none]);
    const written = perform(device, write);
    assert.deepEqual([written.type, written.result, written.mac], [0x300, 7, none]);
    const read = ask(device, frame({ type: 4, address: 0, nonce: NONCE }));
    assert.deepEqual([read.type, read.result, read.mac], [0x400, 7, none]);
    assert.deepEqual(disk.files(), before);
  });

  test('is programmed once, for ever, and not by two frames', () => {
    const disk = new CrashDisk();
    const device = blank(disk);
    const twice = Buffer.concat([frame({ type: 1, mac: KEY }), frame({ type: 1, mac: KEY })]);
    assert.equal(perform(device, twice).result, 1);
    assert.equal(ask(device, frame({ type: 2 })).result, 7);
    const done = perform(device, frame({ type: 1, mac: KEY }));
    assert.deepEqual([done.type, done.result], [0x100, 0]);
    for (const opened of [device, openRpmbDevice(disk.copy(), CHIP)]) {
      for (const mac of [KEY, Buffer.alloc(32)]) {
        assert.equal(perform(opened, frame({ type: 1, mac })).result, 5);
      }
      const answer = ask(opened, frame({ type: 2 }));
      assert.deepEqual([answer.result, answer.counter], [0, 0]);
    }
  });
});

describe('an RPMB', () => {
  test('answers a counter read with the nonce, the counter and a MAC', () => {
    const device = programmed();
    device.send(frame({ type: 2, nonce: NONCE }));
    const message = device.receive(1);
    const { type, result, nonce, counter, mac } = parse(message);
    assert.deepEqual([type, result, counter], [0x200, 0, 0]);
    assert.deepEqual(nonce, NONCE);
    assert.deepEqual(mac, macOf(KEY, message));
  });

  test('writes several blocks at once and counts once; the result register says so as often as asked', () => {
    const disk = new CrashDisk();
    const device = programmed(disk);
    device.send(signedWrite(KEY, { counter: 0, address: 7, data: data(8, 1) }));
    for (const time of [1, 2]) {
      device.send(frame({ type: 5 }));
      const message = device.receive(1);
      const { type, result, counter, address, mac } = parse(message);
      assert.deepEqual([type, result, counter, address], [0x300, 0, 1, 7], `time ${String(time)}`);
      assert.deepEqual(mac, macOf(KEY, message));
    }
    for (const opened of [device, openRpmbDevice(disk.copy(), CHIP)]) {
      assert.equal(counterOf(opened), 1);
      assert.deepEqual(readBlocks(opened, 7, 8), data(8, 1));
    }
  });

  test('answers a read of several blocks with one MAC, in the last frame, over all', () => {
    const device = programmed();
    perform(device, signedWrite(KEY, { counter: 0, address: 3, data: data(2, 9) }));
    device.send(frame({ type: 4, address: 3, nonce: NONCE }));
    const message = device.receive(2);
    const frames = [parse(message.subarray(0, 512)), parse(message.subarray(512))];
    frames.forEach((each, index) => {
      assert.deepEqual([each.type, each.result, each.address, each.blocks], [0x400, 0, 3, 2]);
      assert.deepEqual(each.nonce, NONCE);
      assert.deepEqual(each.data, Buffer.alloc(256, 9 + index));
    });
    assert.deepEqual(frames[0]?.mac, Buffer.alloc(32));
    assert.deepEqual(frames[1]?.mac, macOf(KEY, message));
  });

  test('refuses what is beyond its end: 4', () => {
    const device = programmed();
    const before = stateOf(device);
    for (const address of [BLOCKS - 1, BLOCKS, 0xffff]) {
      const write = signedWrite(KEY, { counter: 0, address, data: data(2, 1) });
      assert.equal(perform(device, write).result, 4);
      device.send(frame({ type: 4, address, nonce: NONCE }));
      const answer = device.receive(2);
      assert.deepEqual([parse(answer).result, parse(answer).data], [4, Buffer.alloc(256)]);
      assert.deepEqual(parse(answer.subarray(512)).mac, macOf(KEY, answer));
    }
    assert.deepEqual(stateOf(device), before);
    const last = signedWrite(KEY, { counter: 0, address: BLOCKS - 1, data: data(1, 1) });
    assert.equal(perform(device, last).result, 0);
  });

  test('refuses a write that is larger than it takes at once, or of frames that disagree: 1', () => {
    const device = programmed();
    const before = stateOf(device);
    const good = signedWrite(KEY, { counter: 0, address: 0, data: data(3, 1) });
    const changed = (at: number): Buffer => {
      const message = Buffer.from(good);
      message.writeUInt8(message.readUInt8(at) + 1, at);
      return signed(KEY, message);
    };
    const refused = [
      signedWrite(KEY, { counter: 0, address: 0, data: data(9, 1) }),
      signed(KEY, good.subarray(0, 1024)),
      changed(507),
      changed(512 + 507),
      changed(512 + 505),
      changed(1024 + 503),
      changed(512 + 511),
    ];
    for (const message of refused) assert.equal(perform(device, message).result, 1);
    assert.deepEqual(stateOf(device), before);
    assert.equal(perform(device, good).result, 0);
  });

  test('answers nobody who did not ask, nor for more frames than an answer has: 1', () => {
    const disk = new CrashDisk();
    programmed(disk).close();
    const device = openRpmbDevice(disk, CHIP);
    assert.equal(parse(device.receive(1)).result, 1);
    assert.equal(ask(device, frame({ type: 5 })).result, 1, 'nothing was written yet');
    for (const type of [0, 6, 0x100, 0xffff]) {
      assert.equal(ask(device, frame({ type })).result, 1);
    }
    ask(device, frame({ type: 2 }));
    assert.equal(parse(device.receive(1)).result, 1, 'an answer is given once');
    device.send(frame({ type: 2 }));
    const two = device.receive(2);
    assert.deepEqual([parse(two).result, parse(two).counter], [1, 0]);
    for (const message of [Buffer.alloc(0), Buffer.alloc(511), frame({ type: 2 }).subarray(1)]) {
      assert.equal(ask(device, message).result, 1);
    }
    for (const count of [0, -1, 1.5, 65_536]) {
      assert.throws(() => device.receive(count), RangeError);
    }
  });

  test('takes no more writes when its counter is at its end, and says so in every answer (0x80)', () => {
    const disk = new CrashDisk();
    programmed(disk).close();
    const device = openRpmbDevice(CrashDisk.holding(withCounter(disk.files(), 0xffff_fffe)), CHIP);
    const write = (counter: number): Buffer =>
      signedWrite(KEY, { counter, address: 0, data: data(1, 1) });
    const last = perform(device, write(0xffff_fffe));
    assert.deepEqual([last.result, last.counter], [0x80, 0xffff_ffff]);
    assert.equal(perform(device, write(0xffff_ffff)).result, 0x85);
    assert.equal(perform(device, write(0)).result, 0x85);
    assert.equal(ask(device, frame({ type: 2 })).result, 0x80);
    assert.equal(ask(device, frame({ type: 4 })).result, 0x80);
    assert.deepEqual(readBlocks(device, 0, 1), data(1, 1));
  });
});

describe('a host that is not trusted', () => {
  test('changes nothing with a forged MAC: 2', () => {
    const device = programmed();
    const before = stateOf(device);
    const good = signedWrite(KEY, { counter: 0, address: 5, data: data(3, 1) });
    const covered = fc.nat({ max: 2 }).chain((index) =>
      // Data and nonce of every frame; the rest is refused for other reasons before.
      fc.integer({ min: 228, max: 499 }).map((at) => 512 * index + at),
    );
    const mac = fc.integer({ min: 196, max: 227 }).map((at) => 1024 + at);
    fc.assert(
      fc.property(fc.oneof(covered, mac), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const message = Buffer.from(good);
        message.writeUInt8(message.readUInt8(at) ^ change, at);
        const { result, counter } = perform(device, message);
        assert.deepEqual([result, counter], [2, 0]);
      }),
      { numRuns: 300 },
    );
    const other = Buffer.alloc(32, 1);
    const foreign = signedWrite(other, { counter: 0, address: 5, data: data(3, 1) });
    assert.equal(perform(device, foreign).result, 2);
    assert.deepEqual(stateOf(device), before);
    assert.equal(perform(device, good).result, 0);
  });

  test('changes nothing with a write of any other counter: 3', () => {
    const device = programmed();
    for (const counter of [0, 1, 2]) {
      perform(device, signedWrite(KEY, { counter, address: 0, data: data(1, counter) }));
    }
    const before = stateOf(device);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (counter) => {
        fc.pre(counter !== 3);
        const write = signedWrite(KEY, { counter, address: 0, data: data(1, 9) });
        const response = perform(device, write);
        assert.deepEqual([response.result, response.counter], [3, 3]);
      }),
      { numRuns: 100 },
    );
    assert.deepEqual(stateOf(device), before);
  });

  test('changes nothing with any write that was recorded, whenever it comes', () => {
    const write = fc.record({
      address: fc.nat({ max: 20 }),
      blocks: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(fc.array(write, { minLength: 1, maxLength: 8 }), fc.nat(), (writes, pick) => {
        const device = programmed();
        const recorded = writes.map(({ address, blocks }, counter) => {
          const message = signedWrite(KEY, { counter, address, data: data(blocks, counter) });
          assert.equal(perform(device, message).result, 0);
          return message;
        });
        const before = stateOf(device);
        const replayed = recorded[pick % recorded.length] ?? assert.fail();
        assert.equal(perform(device, replayed).result, 3);
        assert.deepEqual(stateOf(device), before);
      }),
      { numRuns: 60 },
    );
  });

  test('changes nothing with bytes of any kind', () => {
    const device = programmed();
    perform(device, signedWrite(KEY, { counter: 0, address: 0, data: data(4, 1) }));
    const before = stateOf(device);
    const field = fc.record({
      type: fc.oneof(fc.constantFrom(1, 2, 3, 4, 5), fc.nat({ max: 0xffff })),
      mac: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      counter: fc.nat({ max: 3 }),
      address: fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 0xffff })),
      blocks: fc.nat({ max: 20 }),
    });
    fc.assert(
      fc.property(
        fc.array(field, { maxLength: 12 }),
        fc.nat({ max: 600 }),
        fc.integer({ min: 1, max: 40 }),
        (fields, cut, count) => {
          const message = Buffer.concat(fields.map(frame));
          device.send(message.subarray(0, Math.max(0, message.length - (cut > 512 ? cut : 0))));
          const answer = device.receive(count);
          assert.equal(answer.byteLength, 512 * count);
        },
      ),
      { numRuns: 300 },
    );
    assert.deepEqual(stateOf(device), before);
  });
});

/** A chip as worn as this: its newest journal slot, with another counter. */
function withCounter(
  files: ReadonlyMap<string, Uint8Array>,
  counter: number,
): ReadonlyMap<string, Uint8Array> {
  const bytes = Buffer.from(files.get('rpmb') ?? assert.fail());
  const slot = bytes.subarray(8192);
  slot.writeUInt32LE(counter, 40);
  const record = slot.subarray(32, 88);
  slot.set(createHash('sha256').update(record).digest());
  return new Map([['rpmb', new Uint8Array(bytes)]]);
}
