import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { openReeFsOn } from '../../../tee/secure-world/storage/ree-fs.ts';
import { uuidInMemory } from '../../../tee/secure-world/storage/ree-fs/keys.ts';
import {
  blockOffset,
  fileBytes,
  nodeOffset,
} from '../../../tee/secure-world/storage/ree-fs/layout.ts';
import type { TrustedStorage } from '../../../tee/secure-world/storage/trusted-storage.ts';
import { readWhole } from '../../../tee/secure-world/storage/whole-object.ts';
import { CrashDisk } from './crash-disk.ts';
import { bytes, HUK, id, openOn, TA } from './fixture.ts';
import { findObjects } from './second-reader.ts';

const OTHER_TA = 'b689f2a7-8adf-477a-9f99-32e90c0ad0a2';
const ORIGINAL = new URL('../../../vectors/optee-storage/huk-zero/', import.meta.url);
const HUK_ZERO = new Uint8Array(16);

function original(): ReadonlyMap<string, Uint8Array> {
  return new Map(
    readdirSync(ORIGINAL).map((name) => [name, readFileSync(new URL(name, ORIGINAL))]),
  );
}

/** An identifier as the PKCS#11 TA gives it: a character array of 32 bytes. */
function tokenDb(slot: number): Uint8Array {
  return Buffer.from(`token.db.${String(slot)}`.padEnd(32, '\0'));
}

describe('a directory written by OP-TEE', () => {
  const disk = CrashDisk.holding(original());
  const storage = openReeFsOn(disk, { huk: HUK_ZERO });

  test('opens, without a change to any file, and lists the objects of the PKCS#11 TA', () => {
    assert.deepEqual(
      storage.list(TA).map((each) => Buffer.from(each)),
      [0, 1, 2].map((slot) => Buffer.from(tokenDb(slot))),
    );
    assert.deepEqual(storage.list(OTHER_TA), []);
    assert.deepEqual(disk.files(), CrashDisk.holding(original()).files());
  });

  test('holds an uninitialised token in token.db.0 (struct token_persistent_main)', () => {
    assert.deepEqual(decodeTokenDb(storage, 0), {
      version: 0,
      label: '*'.repeat(32),
      // RNG, LOGIN_REQUIRED, USER_PIN_TO_BE_CHANGED, SO_PIN_TO_BE_CHANGED
      flags: 0x0088_0005,
      soPinFailures: 0,
      soSalt: 0,
      soHash: '00'.repeat(64),
      userPinFailures: 0,
      userSalt: 0,
      userHash: '00'.repeat(64),
      objectCount: 0,
      listed: [],
    });
  });

  test('holds an initialised token with its PIN hashes and objects in token.db.2', () => {
    const token = decodeTokenDb(storage, 2);
    assert.match(token.label, /^PKCS11 TA test token/u);
    // As above, and TOKEN_INITIALIZED and USER_PIN_INITIALIZED instead of the two to be changed.
    assert.equal(token.flags & 0xffff, 0x040d);
    for (const hash of [token.soHash, token.userHash]) {
      assert.match(hash, /^[0-9a-f]{64}0{64}$/u);
      assert.notEqual(hash, '00'.repeat(64));
    }
    assert.notEqual(token.soSalt, 0);
    assert.notEqual(token.userSalt, 0);
    // Its objects were removed; OP-TEE does not shorten the list.
    assert.deepEqual([token.objectCount, token.listed.length], [0, 2]);
  });

  test('says the same to a reader that shares no code with this one', () => {
    const { objects } = findObjects((name) => original().get(name), HUK_ZERO);
    assert.deepEqual(
      objects.map((object) => object.ta),
      [TA, TA, TA],
    );
    for (const object of objects) {
      assert.deepEqual(storage.read(TA, object.id), new Uint8Array(object.data));
    }
  });

  test('begins every object with the head of a data object (struct tee_svc_storage_head)', () => {
    for (const slot of [0, 1, 2]) {
      const object = Buffer.from(storage.read(TA, tokenDb(slot)) ?? assert.fail());
      // attr_size, objectSize, maxObjectSize, objectUsage, objectType, have_attrs
      const head = [0, 4, 8, 12, 16, 20].map((field) => object.readUInt32LE(field));
      assert.deepEqual(head, [0, 0, 0, 0xffff_ffff, 0xa000_00bf, 0]);
    }
  });

  test('is continued: what is written into it can be read by the other reader', () => {
    const continued = CrashDisk.holding(original());
    const writer = openReeFsOn(continued, { huk: HUK_ZERO });
    writer.write(TA, tokenDb(0), bytes(9000, 1));
    writer.write(OTHER_TA, id('ours'), bytes(10, 2));
    writer.remove(TA, tokenDb(1));
    const { objects } = findObjects((name) => continued.files().get(name), HUK_ZERO);
    assert.deepEqual(
      objects.map(({ ta, file, data }) => [ta, file, data.length]),
      [
        [TA, '0', 9000],
        [TA, '2', storage.read(TA, tokenDb(2))?.byteLength],
        [OTHER_TA, '3', 10],
      ],
    );
  });
});

describe('a directory written here', () => {
  const sizes = fc.oneof(fc.nat({ max: 9000 }), fc.nat({ max: 300_000 }));
  const write = fc.record({
    ta: fc.constantFrom(TA, OTHER_TA),
    id: fc.constantFrom('', 'a', 'b', 'c'),
    sizes: fc.array(sizes, { minLength: 1, maxLength: 3 }),
    isRemoved: fc.boolean(),
  });

  test('obeys every rule of the format, for a reader that shares no code with the writer', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 8 }), (writes) => {
        const disk = new CrashDisk();
        const storage = openOn(disk);
        const model = new Map<string, number>();
        writes.forEach((each, index) => {
          for (const size of each.sizes) storage.write(each.ta, id(each.id), bytes(size, index));
          model.set(`${each.ta} ${each.id}`, index);
          if (!each.isRemoved) return;
          storage.remove(each.ta, id(each.id));
          model.delete(`${each.ta} ${each.id}`);
        });
        const files = disk.files();
        const { objects } = findObjects((name) => files.get(name), HUK);
        assert.equal(objects.length, model.size);
        for (const { ta, id: oid, data } of objects) {
          const index = model.get(`${ta} ${oid.toString()}`) ?? assert.fail();
          assert.deepEqual(data, Buffer.alloc(writes[index]?.sizes.at(-1) ?? -1, index));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('states its number of nodes as OP-TEE does, which counts a single one as none', () => {
    const disk = new CrashDisk();
    const storage = openOn(disk);
    for (const blocks of [1, 2, 3, 4]) {
      storage.write(TA, id(String(blocks)), bytes(blocks * 4096, blocks));
    }
    const { maxNodeIds } = findObjects((name) => disk.files().get(name), HUK);
    assert.deepEqual(Object.fromEntries(maxNodeIds), { 'dirf.db': 0, 0: 0, 1: 2, 2: 3, 3: 4 });
    const { maxNodeIds: originals } = findObjects((name) => original().get(name), HUK_ZERO);
    assert.deepEqual(Object.fromEntries(originals), { 'dirf.db': 0, 0: 0, 1: 0, 2: 0 });
  });

  test('holds many objects: dirf.db has more nodes than fit one block of nodes', () => {
    const disk = new CrashDisk();
    const storage = openOn(disk);
    for (let each = 0; each < 1200; each += 1)
      storage.write(TA, id(`n${String(each)}`), bytes(1, 3));
    const files = disk.files();
    const { objects } = findObjects((name) => files.get(name), HUK);
    assert.equal(objects.length, 1200);
    assert.equal(openOn(disk).list(TA).length, 1200);
  });
});

describe('the layout of a hash-tree file', () => {
  test('gives every head, node and block image a place of its own', () => {
    const places: (readonly [from: number, to: number])[] = [[0, 136]];
    for (let block = 0; block < 1000; block += 1) {
      for (const version of [0, 1] as const) {
        const [node, image] = [nodeOffset(block + 1, version), blockOffset(block, version)];
        places.push([node, node + 66], [image, image + 4096]);
      }
    }
    places.sort(([a], [b]) => a - b);
    places.forEach(([from], index) => {
      assert.ok((places[index - 1]?.[1] ?? 0) <= from, `two things at byte ${String(from)}`);
    });
    assert.equal(places.at(-1)?.[1], fileBytes(1000));
  });

  test('has a block of nodes at 1 and after every 61 block images', () => {
    const blocks = [1, 31, 32, 62, 63].map((node) => nodeOffset(node, 0) / 4096);
    assert.deepEqual(blocks.map(Math.trunc), [1, 1, 63, 63, 125]);
    assert.deepEqual(
      [blockOffset(30, 0), blockOffset(30, 1), blockOffset(31, 0)],
      [62 * 4096, 64 * 4096, 65 * 4096],
    );
  });
});

test('a UUID is used as the struct lies in memory', () => {
  assert.equal(
    Buffer.from(uuidInMemory('01020304-0506-0708-090a-0b0c0d0e0f10')).toString('hex'),
    '0403020106050807090a0b0c0d0e0f10',
  );
});

interface TokenDb {
  readonly version: number;
  readonly label: string;
  readonly flags: number;
  readonly soPinFailures: number;
  readonly soSalt: number;
  readonly soHash: string;
  readonly userPinFailures: number;
  readonly userSalt: number;
  readonly userHash: string;
  readonly objectCount: number;
  /** Also what is left behind the count. */
  readonly listed: readonly string[];
}

function decodeTokenDb(storage: TrustedStorage, slot: number): TokenDb {
  const db = Buffer.from(readWhole(storage, TA, tokenDb(slot)) ?? assert.fail());
  assert.equal((db.length - 188) % 16, 0);
  return {
    version: db.readUInt32LE(0),
    label: db.toString('latin1', 4, 36),
    flags: db.readUInt32LE(36),
    soPinFailures: db.readUInt32LE(40),
    soSalt: db.readUInt32LE(44),
    soHash: db.toString('hex', 48, 112),
    userPinFailures: db.readUInt32LE(112),
    userSalt: db.readUInt32LE(116),
    userHash: db.toString('hex', 120, 184),
    objectCount: db.readUInt32LE(184),
    listed: Array.from({ length: (db.length - 188) / 16 }, (_, each) =>
      db.toString('hex', 188 + 16 * each, 204 + 16 * each),
    ),
  };
}
