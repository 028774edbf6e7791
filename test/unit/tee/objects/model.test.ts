/** Any sequence of calls against a model of one page: the same results, the same bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import type { InstanceObjects } from '../../../tee/secure-world/objects/instance-objects.ts';
import { OpenObjects } from '../../../tee/secure-world/objects/sharing.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';
import type { TrustedStorage } from '../../../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from '../storage/crash-disk.ts';
import { openOn } from '../storage/fixture.ts';
import {
  ACCESS_CONFLICT,
  ALL,
  id,
  instanceOn,
  ITEM_NOT_FOUND,
  META,
  outcomeOf,
  OVERWRITE,
  PRIVATE,
  READ,
  SHARED,
  SUCCESS,
  WRITE,
} from './fixture.ts';

interface Call {
  readonly do: (typeof CALLS)[number];
  readonly name: string;
  readonly flags: number;
  /** Which of the handles that were ever given. */
  readonly nth: number;
  readonly size: number;
}

const CALLS = [
  'open',
  'create',
  'close',
  'delete',
  'rename',
  'read',
  'write',
  'truncate',
  'seek',
] as const;
const call: fc.Arbitrary<Call> = fc.record({
  do: fc.constantFrom(...CALLS),
  name: fc.constantFrom('a', 'b', 'c'),
  flags: fc.constantFrom(
    ALL,
    ALL,
    READ,
    WRITE,
    META,
    SHARED,
    SHARED,
    ALL | OVERWRITE,
    SHARED | OVERWRITE,
    0,
  ),
  nth: fc.nat({ max: 5 }),
  size: fc.nat({ max: 40 }),
});

interface ModelHandle {
  name: string;
  readonly flags: number;
  position: number;
}

/** A result, or the TA's death. */
type Outcome = number | 'panic';

/** What the storage holds and who has what open, with nothing below. */
class Model {
  readonly objects = new Map<string, number[]>();
  handles: (ModelHandle | undefined)[] = [];

  open(name: string, flags: number): Outcome {
    if ((flags & OVERWRITE) !== 0) return 'panic';
    if (!this.#mayOpen(name, flags)) return ACCESS_CONFLICT;
    if (!this.objects.has(name)) return ITEM_NOT_FOUND;
    this.handles.push({ name, flags, position: 0 });
    return SUCCESS;
  }

  create(name: string, flags: number, data: number[]): number {
    if (!this.#mayOpen(name, flags)) return ACCESS_CONFLICT;
    if (this.objects.has(name) && (flags & OVERWRITE) === 0) return ACCESS_CONFLICT;
    this.objects.set(name, data);
    this.handles.push({ name, flags, position: 0 });
    return SUCCESS;
  }

  rename(handle: ModelHandle, to: string): Outcome {
    if ((handle.flags & META) === 0) return 'panic';
    if (this.objects.has(to)) return ACCESS_CONFLICT;
    this.objects.set(to, this.#data(handle));
    this.objects.delete(handle.name);
    handle.name = to;
    return SUCCESS;
  }

  delete(nth: number, handle: ModelHandle): Outcome {
    if ((handle.flags & META) === 0) return 'panic';
    this.objects.delete(handle.name);
    this.handles[nth] = undefined;
    return SUCCESS;
  }

  read(handle: ModelHandle, size: number): number[] | 'panic' {
    if ((handle.flags & READ) === 0) return 'panic';
    const read = this.#data(handle).slice(handle.position, handle.position + size);
    handle.position += read.length;
    return read;
  }

  write(handle: ModelHandle, bytes: readonly number[]): Outcome {
    if ((handle.flags & WRITE) === 0) return 'panic';
    const data = this.#data(handle);
    if (bytes.length > 0) while (data.length < handle.position) data.push(0);
    data.splice(handle.position, bytes.length, ...bytes);
    handle.position += bytes.length;
    return SUCCESS;
  }

  truncate(handle: ModelHandle, size: number): Outcome {
    if ((handle.flags & WRITE) === 0) return 'panic';
    const data = this.#data(handle);
    data.length = Math.min(data.length, size);
    while (data.length < size) data.push(0);
    return SUCCESS;
  }

  #data({ name }: ModelHandle): number[] {
    return this.objects.get(name) ?? assert.fail(`the model lost ${name}`);
  }

  /** Of the flags that occur here, only handles that share everything go together. */
  #mayOpen(name: string, flags: number): boolean {
    const others = this.handles.filter((each) => each?.name === name);
    const isShared = (each: number): boolean => (each & SHARED) === SHARED;
    return others.every((other) => {
      const both = [flags, other?.flags ?? 0];
      return both.every(isShared) || both.every((each) => (each & ~OVERWRITE) === 0);
    });
  }
}

/** Runs one call on both. After a panic the TA starts again with nothing in its hands. */
class Run {
  readonly model = new Model();
  readonly #storage: TrustedStorage;
  #ta: InstanceObjects;
  #given: number[] = [];

  constructor(storage: TrustedStorage) {
    this.#storage = storage;
    this.#ta = instanceOn(storage);
  }

  step(each: Call, fill: number): void {
    const bytes = new Array<number>(each.size).fill(fill);
    if (each.do === 'open') {
      this.#gives(
        () => this.#ta.persistent.open(PRIVATE, id(each.name), each.flags),
        () => this.model.open(each.name, each.flags),
      );
    } else if (each.do === 'create') {
      const given = { flags: each.flags, data: Uint8Array.from(bytes) };
      this.#gives(
        () => this.#ta.persistent.create(PRIVATE, id(each.name), given),
        () => this.model.create(each.name, each.flags, bytes),
      );
    } else this.#onHandle(each.do, each, bytes);
  }

  #onHandle(
    what: Exclude<Call['do'], 'open' | 'create'>,
    { nth, name, size }: Call,
    bytes: number[],
  ): void {
    const { model } = this;
    const { persistent, streams } = this.#ta;
    const real = this.#given[nth] ?? 99;
    let read: readonly number[] = [];
    let expected: readonly number[] = [];
    const calls: Record<typeof what, readonly [() => void, (handle: ModelHandle) => Outcome]> = {
      close: [
        () => {
          persistent.close(real);
        },
        () => {
          model.handles[nth] = undefined;
          return SUCCESS;
        },
      ],
      delete: [
        () => {
          persistent.closeAndDelete(real);
        },
        (handle) => model.delete(nth, handle),
      ],
      rename: [
        () => {
          persistent.rename(real, id(name));
        },
        (handle) => model.rename(handle, name),
      ],
      read: [
        () => {
          read = [...streams.read(real, size)];
        },
        (handle) => {
          const answer = model.read(handle, size);
          if (answer === 'panic') return answer;
          expected = answer;
          return SUCCESS;
        },
      ],
      write: [
        () => {
          streams.write(real, Uint8Array.from(bytes));
        },
        (handle) => model.write(handle, bytes),
      ],
      truncate: [
        () => {
          streams.truncate(real, size);
        },
        (handle) => model.truncate(handle, size),
      ],
      seek: [
        () => {
          streams.seek(real, size, 0);
        },
        (handle) => {
          handle.position = size;
          return SUCCESS;
        },
      ],
    };
    const [act, inModel] = calls[what];
    const handle = model.handles[nth];
    this.#same(act, () => (handle === undefined ? 'panic' : inModel(handle)));
    assert.deepEqual(read, expected);
  }

  /** Everything that is stored, as a TA that starts now finds it. */
  compare(storage: TrustedStorage): void {
    const fresh = instanceOn(storage);
    const found = new Map<string, number[]>();
    const enumerator = fresh.enumerators.allocate();
    const started = outcomeOf(() => {
      fresh.enumerators.start(enumerator, PRIVATE);
    });
    assert.equal(started, this.model.objects.size === 0 ? ITEM_NOT_FOUND : SUCCESS);
    for (let each = 0; each < this.model.objects.size; each += 1) {
      const { id: object, info } = fresh.enumerators.next(enumerator);
      const data = fresh.streams.read(fresh.persistent.open(PRIVATE, object, READ), 1000);
      assert.equal(info.dataSizeBytes, data.byteLength);
      found.set(Buffer.from(object).toString(), [...data]);
    }
    assert.deepEqual(
      [...found].sort(([one], [other]) => (one < other ? -1 : 1)),
      [...this.model.objects].sort(([one], [other]) => (one < other ? -1 : 1)),
    );
  }

  #gives(act: () => number, expected: () => Outcome): void {
    this.#same(() => {
      this.#given.push(act());
    }, expected);
  }

  #same(act: () => void, expected: () => Outcome): void {
    const outcome = expected();
    assert.equal(outcomeOf(act), outcome);
    if (outcome !== 'panic') return;
    this.#ta.persistent.closeAll();
    this.#ta = instanceOn(this.#storage, new OpenObjects());
    this.#given = [];
    this.model.handles = [];
  }
}

const STORAGES: Readonly<
  Record<string, () => { first: TrustedStorage; again: () => TrustedStorage }>
> = {
  memory: () => {
    const storage = openMemoryStorage();
    return { first: storage, again: () => storage };
  },
  'REE-FS': () => {
    const disk = new CrashDisk();
    return { first: openOn(disk), again: () => openOn(disk) };
  },
};

for (const [name, open] of Object.entries(STORAGES)) {
  test(`behaves as the model under any sequence of calls, on ${name}`, () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 40 }), (calls) => {
        const { first, again } = open();
        const run = new Run(first);
        calls.forEach((each, index) => {
          run.step(each, index + 1);
        });
        run.compare(again());
      }),
      { numRuns: name === 'memory' ? 500 : 60 },
    );
  });
}
