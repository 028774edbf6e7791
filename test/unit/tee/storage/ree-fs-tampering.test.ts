import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { openMemoryAnchor } from '../../../tee/secure-world/storage/anchor.ts';
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_SECURITY,
} from '../../../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from './crash-disk.ts';
import { bytes, contentsOf, HUK, id, openOn, TA, throwsResult } from './fixture.ts';
import { findObjects } from './second-reader.ts';

type Files = ReadonlyMap<string, Uint8Array>;

/** Three objects, one of several blocks, all written more than once, and one removed. */
function someFiles(): Files {
  const disk = new CrashDisk();
  const storage = openOn(disk);
  for (const round of [1, 2, 3]) {
    storage.write(TA, id('a'), bytes(100, round));
    storage.write(TA, id('b'), bytes(10_000 - round, round));
    storage.write(TA, id('c'), bytes(round, round));
    storage.write(TA, id('gone'), bytes(round, round));
  }
  storage.remove(TA, id('gone'));
  return disk.files();
}

const files = someFiles();
const contents = contentsOf(openOn(CrashDisk.holding(files)));
const used = findObjects((name) => files.get(name), HUK).used;

/** What a TA sees of these files: all contents, or the first failure. */
function seen(tampered: Files): ReadonlyMap<string, string> | number {
  try {
    return contentsOf(openOn(CrashDisk.holding(tampered)));
  } catch (error) {
    assert.ok(error instanceof StorageFailure, String(error));
    return error.result;
  }
}

function withFlippedBit(name: string, at: number, bit: number): Files {
  const file = files.get(name)?.slice() ?? assert.fail();
  file[at] = (file[at] ?? 0) ^ (1 << bit);
  return new Map([...files, [name, file]]);
}

describe('a bit flipped on the disk', () => {
  for (const [name, ranges] of used) {
    test(`is found at every byte of the heads and nodes that ${name} uses`, () => {
      for (const [from, to] of ranges.filter(([start, end]) => end - start < 4096)) {
        for (let at = from; at < to; at += 1) {
          const result = seen(withFlippedBit(name, at, at % 8));
          assert.ok(
            result === TEE_ERROR_CORRUPT_OBJECT || result === TEE_ERROR_SECURITY,
            `byte ${String(at)}`,
          );
        }
      }
    });
  }

  test('in either head counter of dirf.db does not bring back the commit before', () => {
    // The state before the last commits, so that the newest counter is even, odd, and ends in 10 or 11.
    const disk = CrashDisk.holding(files);
    for (let commit = 0; commit < 4; commit += 1) {
      openOn(disk).write(TA, id('a'), bytes(1, commit));
      const newest = disk.files().get('dirf.db') ?? assert.fail();
      for (const at of [64, 65, 66, 67, 132, 133, 134, 135]) {
        for (let bit = 0; bit < 8; bit += 1) {
          const flipped = newest.slice();
          flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
          const result = seen(new Map([...disk.files(), ['dirf.db', flipped]]));
          assert.ok(
            result === TEE_ERROR_SECURITY || result === TEE_ERROR_CORRUPT_OBJECT,
            `bit ${String(bit)} of byte ${String(at)}`,
          );
        }
      }
    }
  });

  test('in the parity of a head counter of dirf.db is no commit at all (TEE_ERROR_SECURITY)', () => {
    assert.equal(seen(withFlippedBit('dirf.db', 64, 0)), TEE_ERROR_SECURITY);
    assert.equal(seen(withFlippedBit('dirf.db', 132, 0)), TEE_ERROR_SECURITY);
  });

  test('is found in any block in use, and does no harm anywhere else', () => {
    const places = fc.constantFrom(...files.keys()).chain((name) =>
      fc.record({
        name: fc.constant(name),
        at: fc.nat({ max: (files.get(name)?.byteLength ?? 1) - 1 }),
        bit: fc.nat({ max: 7 }),
      }),
    );
    fc.assert(
      fc.property(places, ({ name, at, bit }) => {
        const isUsed = used.get(name)?.some(([from, to]) => from <= at && at < to);
        const result = seen(withFlippedBit(name, at, bit));
        if (isUsed !== true) assert.deepEqual(result, contents);
        else assert.ok(result === TEE_ERROR_CORRUPT_OBJECT || result === TEE_ERROR_SECURITY);
      }),
      { numRuns: 400 },
    );
  });

  test('leaves the other objects readable', () => {
    const [from] = used.get('1')?.at(-1) ?? assert.fail();
    const storage = openOn(CrashDisk.holding(withFlippedBit('1', from, 0)));
    throwsResult(() => storage.read(TA, id('b')), TEE_ERROR_CORRUPT_OBJECT);
    assert.deepEqual(storage.read(TA, id('a')), bytes(100, 3));
    assert.deepEqual(storage.list(TA).length, 3);
  });

  test('in the old data only does not stop an object from being replaced', () => {
    const [from] = used.get('1')?.at(-1) ?? assert.fail();
    const storage = openOn(CrashDisk.holding(withFlippedBit('1', from, 0)));
    storage.write(TA, id('b'), bytes(5, 5));
    assert.deepEqual(storage.read(TA, id('b')), bytes(5, 5));
  });
});

describe('a file cut short', () => {
  test('is refused wherever it is cut within what is used, and a corrupt object is kept', () => {
    for (const [name, ranges] of used) {
      const end = Math.max(...ranges.map(([, to]) => to));
      for (const length of [0, 1, 67, 135, 4095, 4096, 4161, 4227, end - 4096, end - 1]) {
        const cut = new Map([...files, [name, files.get(name)?.slice(0, length) ?? assert.fail()]]);
        assert.equal(seen(cut), TEE_ERROR_CORRUPT_OBJECT, `${name} of ${String(length)} bytes`);
        const disk = CrashDisk.holding(cut);
        try {
          contentsOf(openOn(disk));
        } catch {
          assert.deepEqual(disk.files(), cut);
        }
      }
    }
  });
});

describe('a file of another object or another time', () => {
  test('is refused when two objects have exchanged their files', () => {
    const [a, b] = [files.get('0'), files.get('2')];
    const swapped = new Map([...files, ['0', b ?? assert.fail()], ['2', a ?? assert.fail()]]);
    const storage = openOn(CrashDisk.holding(swapped));
    throwsResult(() => storage.read(TA, id('a')), TEE_ERROR_CORRUPT_OBJECT);
    throwsResult(() => storage.read(TA, id('c')), TEE_ERROR_CORRUPT_OBJECT);
    throwsResult(() => {
      storage.write(TA, id('a'), bytes(1, 1));
    }, TEE_ERROR_CORRUPT_OBJECT);
  });

  test('is refused when it is an older copy of the same object: dirf.db pins its hash', () => {
    const disk = CrashDisk.holding(files);
    const storage = openOn(disk);
    const old = disk.files().get('0') ?? assert.fail();
    storage.write(TA, id('a'), bytes(100, 8));
    storage.write(TA, id('a'), bytes(100, 9));
    const replayed = CrashDisk.holding(new Map([...disk.files(), ['0', old]]));
    throwsResult(() => openOn(replayed).read(TA, id('a')), TEE_ERROR_CORRUPT_OBJECT);
  });

  test('is refused when its head was moved to the place of the other one', () => {
    const moved = files.get('0')?.slice() ?? assert.fail();
    assert.equal(new DataView(moved.buffer).getUint32(132, true), 3, 'head 1 is the newest');
    moved.copyWithin(0, 68, 136);
    moved.copyWithin(4096, 4162, 4228);
    moved.fill(0, 4162, 4228);
    assert.equal(seen(new Map([...files, ['0', moved]])), TEE_ERROR_CORRUPT_OBJECT);
  });

  test('is accepted when it is an older copy of everything, without an anchor', () => {
    const disk = CrashDisk.holding(files);
    openOn(disk).write(TA, id('a'), bytes(100, 9));
    assert.deepEqual(seen(files), contents);
  });
});

describe('an anchor', () => {
  test('refuses an older copy of everything (TEE_ERROR_SECURITY)', () => {
    const anchor = openMemoryAnchor();
    const disk = CrashDisk.holding(files);
    const storage = openOn(disk, anchor);
    storage.write(TA, id('a'), bytes(100, 8));
    const old = disk.copy();
    storage.write(TA, id('a'), bytes(100, 9));
    storage.remove(TA, id('c'));
    const before = old.files();
    throwsResult(() => openOn(old, anchor), TEE_ERROR_SECURITY);
    assert.deepEqual(old.files(), before);
    assert.deepEqual(openOn(disk, anchor).read(TA, id('a')), bytes(100, 9));
  });

  test('refuses a dirf.db that is missing (TEE_ERROR_SECURITY)', () => {
    const anchor = openMemoryAnchor();
    openOn(new CrashDisk(), anchor);
    const disk = new CrashDisk();
    throwsResult(() => openOn(disk, anchor), TEE_ERROR_SECURITY);
    assert.deepEqual(disk.names(), []);
  });

  test('trusts the directory it first meets, and from then on no other', () => {
    const anchor = openMemoryAnchor();
    assert.deepEqual(contentsOf(openOn(CrashDisk.holding(files), anchor)), contents);
    throwsResult(() => openOn(CrashDisk.holding(someFiles()), anchor), TEE_ERROR_SECURITY);
  });

  test('decides which commit counts when it could not be set: the one before', () => {
    const anchor = openMemoryAnchor();
    const disk = CrashDisk.holding(files);
    const storage = openOn(disk, {
      load: () => anchor.load(),
      store: (rootHash) => {
        if (anchor.load() !== undefined) throw new Error('the anchor is out of reach');
        anchor.store(rootHash);
      },
    });
    assert.throws(() => {
      storage.write(TA, id('a'), bytes(100, 9));
    }, /out of reach/u);
    assert.deepEqual(contentsOf(openOn(disk, anchor)), contents);
  });
});
