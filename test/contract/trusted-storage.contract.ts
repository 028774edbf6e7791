/** What every TrustedStorage must do. Run once per implementation. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

import fc from 'fast-check';

import type { TrustedStorage } from '../tee/secure-world/storage/trusted-storage.ts';

export interface TrustedStorageFixture {
  readonly storage: TrustedStorage;
  /** Closes the storage and opens it again on the same disk; the same storage if it has no disk. */
  reopen(): TrustedStorage;
  remove(): void;
}

const TA = 'fd02c9da-306c-48c7-a49c-bbd827ae86ee';
const OTHER_TA = 'b689f2a7-8adf-477a-9f99-32e90c0ad0a2';

/** Sizes around the blocks of the on-disk format, whose first block starts with a 24-byte head. */
const SIZES = [0, 1, 4071, 4072, 4073, 4095, 4096, 4097, 31 * 4096, 32 * 4096 + 1, 64 * 4096];

/** `table`: a new object takes the first free entry of a table, as OP-TEE's RPMB-FS does. */
export type ListingOrder = 'creation' | 'table';

export function trustedStorageContract(
  name: string,
  open: () => TrustedStorageFixture,
  order: ListingOrder = 'creation',
): void {
  describe(`TrustedStorage contract: ${name}`, () => {
    let fixture: TrustedStorageFixture;
    let storage: TrustedStorage;

    beforeEach(() => {
      fixture = open();
      ({ storage } = fixture);
    });
    afterEach(() => {
      storage.close();
      fixture.remove();
    });

    test('has no object before one is written', () => {
      assert.equal(storage.read(TA, id('a')), undefined);
      assert.deepEqual(storage.list(TA), []);
      assert.equal(storage.remove(TA, id('a')), false);
    });

    for (const size of SIZES) {
      test(`returns an object of ${String(size)} bytes as it was written, also after reopening`, () => {
        const data = pattern(size);
        storage.write(TA, id('a'), data);
        assert.deepEqual(storage.read(TA, id('a')), data);
        storage = fixture.reopen();
        assert.deepEqual(storage.read(TA, id('a')), data);
      });
    }

    test('replaces an object by a longer, a shorter and an empty one', () => {
      for (const size of [10, 9000, 200_000, 5000, 0, 70_000]) {
        storage.write(TA, id('a'), pattern(size));
        storage = fixture.reopen();
        assert.deepEqual(storage.read(TA, id('a')), pattern(size));
      }
      assert.equal(storage.list(TA).length, 1);
    });

    test('forgets a removed object and says that there was one', () => {
      storage.write(TA, id('a'), pattern(5));
      assert.equal(storage.remove(TA, id('a')), true);
      assert.equal(storage.remove(TA, id('a')), false);
      storage = fixture.reopen();
      assert.equal(storage.read(TA, id('a')), undefined);
      assert.deepEqual(storage.list(TA), []);
    });

    test(`lists identifiers in the order of ${order}, whatever was removed and replaced between`, () => {
      const expected = order === 'creation' ? ['a', 'c', 'e', 'b'] : ['a', 'e', 'c', 'b'];
      for (const each of ['a', 'b', 'c', 'd']) storage.write(TA, id(each), pattern(1));
      storage.remove(TA, id('b'));
      storage.write(TA, id('a'), pattern(2));
      storage.write(TA, id('e'), pattern(1));
      storage.remove(TA, id('d'));
      storage.write(TA, id('b'), pattern(1));
      assert.deepEqual(names(storage.list(TA)), expected);
      storage = fixture.reopen();
      assert.deepEqual(names(storage.list(TA)), expected);
    });

    test('gives an object another identifier, with its bytes and its place, also after reopening', () => {
      for (const each of ['a', 'b', 'c']) storage.write(TA, id(each), pattern(5000, each.length));
      assert.equal(storage.rename(TA, id('b'), id('renamed')), 'renamed');
      for (const opened of [() => storage, () => fixture.reopen()]) {
        storage = opened();
        assert.equal(storage.read(TA, id('b')), undefined);
        assert.deepEqual(storage.read(TA, id('renamed')), pattern(5000, 1));
        assert.deepEqual(names(storage.list(TA)), ['a', 'renamed', 'c']);
      }
      storage.write(TA, id('renamed'), pattern(9));
      assert.equal(storage.remove(TA, id('renamed')), true);
      assert.deepEqual(names(storage.list(TA)), ['a', 'c']);
    });

    test('renames to and from the empty identifier', () => {
      storage.write(TA, id('a'), pattern(3));
      assert.equal(storage.rename(TA, id('a'), id('')), 'renamed');
      storage = fixture.reopen();
      assert.deepEqual(storage.list(TA), [id('')]);
      assert.equal(storage.rename(TA, id(''), id('b')), 'renamed');
      assert.deepEqual(storage.read(TA, id('b')), pattern(3));
    });

    test('renames nothing over another object, nor what is missing, and changes nothing then', () => {
      storage.write(TA, id('a'), pattern(5));
      storage.write(TA, id('b'), pattern(6));
      storage.write(OTHER_TA, id('theirs'), pattern(7));
      assert.equal(storage.rename(TA, id('a'), id('b')), 'exists');
      assert.equal(storage.rename(TA, id('a'), id('a')), 'exists');
      assert.equal(storage.rename(TA, id('none'), id('b')), 'missing');
      assert.equal(storage.rename(TA, id('none'), id('c')), 'missing');
      assert.equal(storage.rename(TA, id('theirs'), id('c')), 'missing');
      for (const opened of [() => storage, () => fixture.reopen()]) {
        storage = opened();
        assert.deepEqual(names(storage.list(TA)), ['a', 'b']);
        assert.deepEqual(storage.read(TA, id('a')), pattern(5));
        assert.deepEqual(storage.read(TA, id('b')), pattern(6));
        assert.deepEqual(storage.read(OTHER_TA, id('theirs')), pattern(7));
      }
    });

    test('takes identifiers of 0 to 64 bytes and tells similar ones apart', () => {
      const ids = [
        new Uint8Array(0),
        Uint8Array.of(0),
        Uint8Array.of(1),
        Uint8Array.of(1, 0),
        new Uint8Array(63),
        new Uint8Array(64),
        new Uint8Array(64).fill(0xff),
      ];
      ids.forEach((each, index) => {
        storage.write(TA, each, Uint8Array.of(index));
      });
      storage = fixture.reopen();
      assert.deepEqual(storage.list(TA), ids);
      ids.forEach((each, index) => {
        assert.deepEqual(storage.read(TA, each), Uint8Array.of(index));
      });
    });

    test('refuses an identifier of 65 bytes and keeps what there is', () => {
      storage.write(TA, new Uint8Array(64), pattern(1));
      const tooLong = new Uint8Array(65);
      assert.throws(() => storage.read(TA, tooLong), RangeError);
      assert.throws(() => storage.remove(TA, tooLong), RangeError);
      assert.throws(() => storage.rename(TA, new Uint8Array(64), tooLong), RangeError);
      assert.throws(() => storage.rename(TA, tooLong, new Uint8Array(64)), RangeError);
      assert.throws(() => {
        storage.write(TA, tooLong, pattern(2));
      }, RangeError);
      assert.deepEqual(storage.list(TA), [new Uint8Array(64)]);
    });

    test("does not show a TA another TA's objects", () => {
      storage.write(TA, id('a'), pattern(7));
      storage.write(OTHER_TA, id('b'), pattern(8));
      assert.equal(storage.read(OTHER_TA, id('a')), undefined);
      assert.equal(storage.remove(OTHER_TA, id('a')), false);
      storage.write(OTHER_TA, id('a'), pattern(9));
      assert.deepEqual(storage.read(TA, id('a')), pattern(7));
      assert.deepEqual(names(storage.list(TA)), ['a']);
      assert.deepEqual(names(storage.list(OTHER_TA)), ['b', 'a']);
    });

    test('shares no memory with its callers', () => {
      const [name, data] = [Buffer.from('a'), Buffer.from(pattern(3))];
      storage.write(TA, name, data);
      name.fill(0);
      data.fill(0);
      storage.read(TA, id('a'))?.fill(0);
      storage.list(TA)[0]?.fill(0);
      assert.deepEqual(storage.read(TA, id('a')), pattern(3));
      assert.deepEqual(names(storage.list(TA)), ['a']);
    });

    test('refuses every use after it was closed', () => {
      storage.write(TA, id('a'), pattern(3));
      storage.close();
      storage.close();
      assert.throws(() => storage.read(TA, id('a')), RangeError);
      assert.throws(() => storage.list(TA), RangeError);
      assert.throws(() => storage.remove(TA, id('a')), RangeError);
      assert.throws(() => storage.rename(TA, id('a'), id('b')), RangeError);
      assert.throws(() => {
        storage.write(TA, id('a'), pattern(3));
      }, RangeError);
    });

    test('behaves as a map of objects under any sequence of operations and reopenings', () => {
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 30 }), (operations) => {
          const run = open();
          try {
            followsModel(run, operations, order);
          } finally {
            run.remove();
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}

type Operation =
  | { readonly do: 'write'; readonly ta: string; readonly id: string; readonly size: number }
  | { readonly do: 'remove'; readonly ta: string; readonly id: string }
  | { readonly do: 'rename'; readonly ta: string; readonly id: string; readonly to: string }
  | { readonly do: 'reopen' };

const identifier = fc.constantFrom('', 'a', 'b', 'c', 'd', 'e');
const target = { ta: fc.constantFrom(TA, OTHER_TA), id: identifier };
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write'), ...target, size: sizes() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('remove'), ...target }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('rename'), ...target, to: identifier }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen') }) },
);

function sizes(): fc.Arbitrary<number> {
  return fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 20_000 }));
}

function followsModel(
  fixture: TrustedStorageFixture,
  operations: readonly Operation[],
  order: ListingOrder,
): void {
  const model = new Map<string, Map<string, Uint8Array>>([
    [TA, new Map()],
    [OTHER_TA, new Map()],
  ]);
  let { storage } = fixture;
  for (const [step, each] of operations.entries()) {
    if (each.do === 'reopen') {
      storage = fixture.reopen();
    } else if (each.do === 'remove') {
      const was = model.get(each.ta)?.delete(each.id);
      assert.equal(storage.remove(each.ta, id(each.id)), was);
    } else if (each.do === 'rename') {
      const { result, objects } = renamed(
        model.get(each.ta) ?? new Map<string, Uint8Array>(),
        each,
      );
      model.set(each.ta, objects);
      assert.equal(storage.rename(each.ta, id(each.id), id(each.to)), result);
    } else {
      const data = pattern(each.size, step);
      model.get(each.ta)?.set(each.id, data);
      storage.write(each.ta, id(each.id), data);
    }
  }
  for (const [ta, objects] of model) {
    const listed = names(storage.list(ta));
    assert.deepEqual(inOrder(listed, order), inOrder([...objects.keys()], order));
    for (const [each, data] of objects) assert.deepEqual(storage.read(ta, id(each)), data);
  }
  storage.close();
}

type Objects = Map<string, Uint8Array>;

function renamed(objects: Objects, { id: from, to }: { readonly id: string; readonly to: string }) {
  if (!objects.has(from)) return { result: 'missing', objects } as const;
  if (objects.has(to)) return { result: 'exists', objects } as const;
  const entries = Array.from(objects, ([key, data]) => [key === from ? to : key, data] as const);
  return { result: 'renamed', objects: new Map(entries) } as const;
}

function inOrder(listed: readonly string[], order: ListingOrder): readonly string[] {
  return order === 'creation' ? listed : listed.toSorted();
}

function id(name: string): Uint8Array {
  return new TextEncoder().encode(name);
}

function names(ids: readonly Uint8Array[]): readonly string[] {
  return ids.map((each) => new TextDecoder().decode(each));
}

/** Bytes that differ from block to block and from seed to seed. */
function pattern(size: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length: size }, (_, at) => (at * 7 + (at >> 8) * 31 + seed) & 0xff);
}
