/** What an RPMB-FS leaves on its chip, read by a reader that shares nothing with it but OP-TEE's names. */
import assert from 'node:assert/strict';
import { createDecipheriv, createCipheriv, createHash, createHmac } from 'node:crypto';
import { describe, test } from 'node:test';

import { openRpmbAnchor } from '../../../tee/secure-world/storage/anchor.ts';
import { openRpmbFs } from '../../../tee/secure-world/storage/rpmb-fs.ts';
import { openRpmbDevice, type RpmbDevice } from '../../../tee/secure-world/storage/rpmb/device.ts';
import { deriveRpmbKey } from '../../../tee/secure-world/storage/rpmb/driver.ts';
import {
  TEE_ERROR_COMMUNICATION,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
} from '../../../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from './crash-disk.ts';
import {
  bytes,
  contentsOf,
  HUK,
  id,
  openOn,
  openRpmbOn,
  SMALL_CHIP,
  TA,
  throwsResult,
} from './fixture.ts';
import { counterOf, perform, readBlocks, signedWrite } from './rpmb-host.ts';

const BLOCKS = 512;
const KEY = deriveRpmbKey(HUK, SMALL_CHIP.cid);
/** fd02c9da-306c-48c7-a49c-bbd827ae86ee as struct TEE_UUID lies in memory. */
const TA_IN_MEMORY = 'DAC902FD6C30C748A49CBBD827AE86EE';

interface Entry {
  readonly start: number;
  readonly size: number;
  readonly flags: number;
  readonly unused: number;
  readonly fek: Buffer;
  readonly name: string;
}

function contentOf(disk: CrashDisk): Buffer {
  return readBlocks(openRpmbDevice(disk.copy(), SMALL_CHIP), 0, BLOCKS);
}

/** Entries up to and with the last. */
function tableOf(content: Buffer): readonly Entry[] {
  const entries: Entry[] = [];
  for (let at = 512; ; at += 256) {
    const entry = {
      start: content.readUInt32LE(at),
      size: content.readUInt32LE(at + 4),
      flags: content.readUInt32LE(at + 8),
      unused: content.readUInt32LE(at + 12),
      fek: content.subarray(at + 16, at + 32),
      name: content.toString('latin1', at + 32, at + 256).replace(/\0*$/u, ''),
    };
    entries.push(entry);
    if ((entry.flags & 2) !== 0) return entries;
  }
}

/** @param ta - what the file key is wrapped for: a TA in memory order, or one zero byte */
function decrypt(content: Buffer, { start, size, fek }: Entry, ta: Buffer): Buffer {
  const hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer =>
    createHmac('sha256', key).update(Buffer.concat(parts)).digest();
  const ssk = hmac(HUK, Buffer.from('BEEF'.repeat(8)), Buffer.from('ONLY_FOR_tee_fs_ssk\0'));
  const ecb = createDecipheriv('aes-256-ecb', hmac(ssk, ta), null).setAutoPadding(false);
  const key = ecb.update(fek);
  const ivKey = createHash('sha256').update(key).digest().subarray(0, 16);
  const plain: Buffer[] = [];
  for (let at = start; at < start + size; at += 256) {
    const place = Buffer.alloc(16);
    place.writeUInt16LE(at / 256);
    const iv = createCipheriv('aes-128-ecb', ivKey, null).setAutoPadding(false).update(place);
    const cbc = createDecipheriv('aes-128-cbc', key, iv).setAutoPadding(false);
    plain.push(cbc.update(content.subarray(at, at + 256)));
  }
  return Buffer.concat(plain).subarray(0, size);
}

function nameOf(identifier: string): string {
  return `/${TA_IN_MEMORY}/${Buffer.from(identifier).toString('hex').toUpperCase()}`;
}

describe('the format of an RPMB-FS', () => {
  test('starts with struct rpmb_fs_partition and a table whose one entry is free and the last', () => {
    const disk = new CrashDisk();
    openRpmbOn(disk);
    const content = contentOf(disk);
    assert.equal(content.readUInt32LE(0), 0x5250_4d42);
    assert.equal(content.readUInt32LE(4), 2);
    assert.equal(content.readUInt32LE(12), 512);
    const [last, ...others] = tableOf(content);
    assert.deepEqual(others, []);
    assert.deepEqual(last, {
      start: 0,
      size: 0,
      flags: 2,
      unused: 0,
      fek: Buffer.alloc(16),
      name: '',
    });
  });

  test('names, places and encrypts objects as OP-TEE does, from the top downwards', () => {
    const disk = new CrashDisk();
    const storage = openRpmbOn(disk);
    storage.write(TA, id('a'), bytes(300, 1));
    storage.write(TA, id('mn'), bytes(10_000, 2));
    storage.write(TA, id(''), bytes(0, 3));
    const content = contentOf(disk);
    const table = tableOf(content);
    assert.deepEqual(
      table.map(({ name, start, size, flags, unused }) => [name, start / 256, size, flags, unused]),
      [
        [nameOf('a'), 509, 300, 1, 0],
        [nameOf('mn'), 469, 10_000, 1, 0],
        [nameOf(''), 0, 0, 1, 0],
        ['', 0, 0, 2, 0],
      ],
    );
    const ta = Buffer.from(TA_IN_MEMORY, 'hex');
    const [a, mn] = table;
    assert.deepEqual(decrypt(content, a ?? assert.fail(), ta), Buffer.alloc(300, 1));
    assert.deepEqual(decrypt(content, mn ?? assert.fail(), ta), Buffer.alloc(10_000, 2));
  });

  test('keeps the root hash of dirf.db in /dirfile.db.hash, for no TA (CFG_REE_FS_INTEGRITY_RPMB)', () => {
    const [disk, ree] = [new CrashDisk(), new CrashDisk()];
    openOn(ree, openRpmbAnchor(openRpmbOn(disk))).write(TA, id('a'), bytes(1, 1));
    const content = contentOf(disk);
    const [entry] = tableOf(content);
    assert.equal(entry?.name, '/dirfile.db.hash');
    assert.equal(entry.size, 32);
    const dirf = Buffer.from(ree.files().get('dirf.db') ?? []);
    const roots = [dirf.subarray(4096, 4128), dirf.subarray(4162, 4194)];
    const newest = dirf.readUInt32LE(64) > dirf.readUInt32LE(132) ? 0 : 1;
    assert.deepEqual(decrypt(content, entry, Buffer.alloc(1)), roots[newest]);
  });

  test('hides contents and keys, but not names, from who reads the chip', () => {
    const disk = new CrashDisk();
    const storage = openRpmbOn(disk);
    const secret = 'a secret of sixteen bytes or more';
    storage.write(TA, id('a'), id(secret.repeat(40)));
    storage.write(TA, id('a'), id(secret.repeat(40)));
    const content = contentOf(disk);
    assert.equal(content.includes(secret), false);
    assert.equal(content.includes(HUK), false);
    assert.equal(content.includes(nameOf('a')), true);
  });
});

describe('an RPMB-FS', () => {
  test('takes a free entry again, and the room of what was removed', () => {
    const disk = new CrashDisk();
    const storage = openRpmbOn(disk);
    for (let round = 0; round < 30; round += 1) {
      storage.write(TA, id('kept'), bytes(1000 + round, round));
      storage.write(TA, id(`r${String(round)}`), bytes(40_000, round));
      storage.remove(TA, id(`r${String(round - 1)}`));
    }
    assert.equal(tableOf(contentOf(disk)).length, 4);
    assert.deepEqual([...contentsOf(openRpmbOn(disk)).keys()].sort(), ['kept', 'r29']);
  });

  test('replaces contents in place when one write of the chip can, and only then', () => {
    const disk = new CrashDisk();
    const storage = openRpmbOn(disk);
    const writesOf = (act: () => void): number => {
      const from = counterOf(openRpmbDevice(disk.copy(), SMALL_CHIP));
      act();
      return counterOf(openRpmbDevice(disk.copy(), SMALL_CHIP)) - from;
    };
    const write = (size: number, fill: number) => () => {
      storage.write(TA, id('a'), bytes(size, fill));
    };
    assert.equal(writesOf(write(512, 1)), 4, 'another last entry, a draft, contents, the entry');
    assert.equal(writesOf(write(512, 2)), 1, 'contents');
    assert.equal(writesOf(write(511, 2)), 2, 'contents, the entry');
    assert.equal(writesOf(write(513, 3)), 3, 'contents in two writes, the entry');
    assert.equal(writesOf(write(513, 4)), 3);
    assert.equal(writesOf(write(0, 4)), 1, 'the entry');
    assert.equal(
      writesOf(() => storage.rename(TA, id('a'), id('b'))),
      1,
      'the entry',
    );
    assert.equal(
      writesOf(() => storage.remove(TA, id('b'))),
      1,
      'the entry',
    );
    assert.equal(
      writesOf(() => storage.remove(TA, id('b'))),
      0,
    );
  });

  test('has no space when it is full, loses nothing then, and has some again after a removal', () => {
    const disk = new CrashDisk();
    const storage = openRpmbOn(disk);
    const full = (size: number): number => {
      for (let each = 0; ; each += 1) {
        const name = id(`${String(size)} ${String(each)}`);
        try {
          storage.write(TA, name, bytes(size, each));
        } catch {
          throwsResult(() => {
            storage.write(TA, name, bytes(size, each));
          }, TEE_ERROR_STORAGE_NO_SPACE);
          return each;
        }
      }
    };
    // 509 blocks for contents and entries, one of them the last entry.
    assert.equal(full(20_000), 6);
    assert.equal(full(1), 14);
    assert.equal(full(0), 0);
    storage.remove(TA, id('20000 0'));
    assert.equal(full(0), 1, 'room above the lowest contents is none for the table');
    storage.remove(TA, id('0 0'));
    storage.write(TA, id('20000 0'), bytes(20_000, 0));
    const before = contentsOf(storage);
    const content = contentOf(disk);
    throwsResult(() => {
      storage.write(TA, id('20000 0'), bytes(20_001, 1));
    }, TEE_ERROR_STORAGE_NO_SPACE);
    throwsResult(() => {
      storage.write(TA, id('huge'), bytes(10_000_000, 1));
    }, TEE_ERROR_STORAGE_NO_SPACE);
    assert.deepEqual(contentOf(disk), content);
    assert.equal(storage.rename(TA, id('1 0'), id('other')), 'renamed');
    storage.remove(TA, id('20000 1'));
    storage.write(TA, id('20000 0'), bytes(20_000, 9));
    const found = contentsOf(openRpmbOn(disk));
    assert.equal(found.size, before.size - 1);
    assert.equal(found.get('20000 0'), '09'.repeat(20_000));
    assert.equal(found.get('other'), before.get('1 0'));
  });

  test('sweeps what was being created when the power went', () => {
    const disk = new CrashDisk();
    openRpmbOn(disk).write(TA, id('a'), bytes(5, 5));
    const device = openRpmbDevice(disk, SMALL_CHIP);
    const draft = contentOf(disk).subarray(512, 768);
    draft.fill(0, 32);
    draft.write(`/${TA_IN_MEMORY}/.62`, 32, 'latin1');
    draft.fill(0, 0, 8);
    const last = Buffer.alloc(256);
    last.writeUInt32LE(2, 8);
    put(device, 4, last);
    put(device, 3, draft);
    assert.deepEqual(openRpmbOn(disk).list(TA), [id('a')]);
    assert.deepEqual(
      tableOf(contentOf(disk)).map(({ name, flags }) => [name, flags]),
      [
        [nameOf('a'), 1],
        ['', 0],
        ['', 2],
      ],
    );
  });

  test('does not open what is no RPMB-FS, or makes no sense, and leaves it alone', () => {
    const entry = (change: (bytes: Buffer) => void) => (device: RpmbDevice) => {
      const changed = readBlocks(device, 2, 1);
      change(changed);
      put(device, 2, changed);
    };
    const damages: readonly ((device: RpmbDevice) => void)[] = [
      (device) => {
        put(device, 0, Buffer.alloc(256, 1));
      },
      (device) => {
        const partition = readBlocks(device, 0, 1);
        partition.writeUInt32LE(1, 4);
        put(device, 0, partition);
      },
      (device) => {
        put(device, 3, Buffer.alloc(256));
      },
      entry((bytes_) => bytes_.writeUInt32LE(3, 8)),
      entry((bytes_) => bytes_.writeUInt32LE(1, 0)),
      entry((bytes_) => bytes_.writeUInt32LE(511 * 256, 0)),
      entry((bytes_) => bytes_.writeUInt32LE(256, 0)),
      entry((bytes_) => bytes_.writeUInt32LE(0xffff_ffff, 4)),
      entry((bytes_) => bytes_.fill(0x41, 32)),
    ];
    for (const [index, damage] of damages.entries()) {
      const disk = new CrashDisk();
      openRpmbOn(disk).write(TA, id('a'), bytes(5, 5));
      damage(openRpmbDevice(disk, SMALL_CHIP));
      const before = contentOf(disk);
      throwsResult(() => openRpmbOn(disk), TEE_ERROR_CORRUPT_OBJECT);
      assert.deepEqual(contentOf(disk), before, `damage ${String(index)}`);
    }
  });

  test('refuses two files of one name, and two files in one place', () => {
    const copies: readonly ((entry: Buffer) => void)[] = [
      (entry) => entry.writeUInt32LE(0, 4),
      (entry) => entry.write('X', 34, 'latin1'),
    ];
    for (const change of copies) {
      const disk = new CrashDisk();
      openRpmbOn(disk).write(TA, id('a'), bytes(5, 5));
      const device = openRpmbDevice(disk, SMALL_CHIP);
      const twin = readBlocks(device, 2, 1);
      change(twin);
      const last = readBlocks(device, 3, 1);
      put(device, 4, last);
      put(device, 3, twin);
      throwsResult(() => openRpmbOn(disk), TEE_ERROR_CORRUPT_OBJECT);
    }
  });

  test('is out of use once its chip is (TEE_ERROR_COMMUNICATION), and lists nothing from memory', () => {
    const disk = new CrashDisk();
    const storage = openRpmbOn(disk);
    storage.write(TA, id('a'), bytes(5, 5));
    disk.failure = () => TEE_ERROR_STORAGE_NO_SPACE;
    throwsResult(() => {
      storage.write(TA, id('a'), bytes(6, 6));
    }, TEE_ERROR_COMMUNICATION);
    disk.failure = () => undefined;
    throwsResult(() => storage.list(TA), TEE_ERROR_COMMUNICATION);
    throwsResult(() => storage.read(TA, id('a')), TEE_ERROR_COMMUNICATION);
    assert.deepEqual(contentsOf(openRpmbOn(disk)), new Map([['a', '05'.repeat(5)]]));
  });

  test('refuses another hardware unique key, and one that is not 16 bytes', () => {
    const disk = new CrashDisk();
    openRpmbOn(disk).write(TA, id('a'), bytes(5, 5));
    const open = (huk: Uint8Array) => () =>
      openRpmbFs({ device: openRpmbDevice(disk, SMALL_CHIP), huk });
    throwsResult(open(new Uint8Array(16)), TEE_ERROR_COMMUNICATION);
    assert.throws(open(new Uint8Array(15)), RangeError);
    assert.equal(contentsOf(openRpmbOn(disk)).size, 1);
  });
});

function put(device: RpmbDevice, address: number, data: Buffer): void {
  const write = signedWrite(KEY, { counter: counterOf(device), address, data });
  assert.equal(perform(device, write).result, 0);
}
