import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import type { Anchor } from '../tee/secure-world/storage/anchor.ts';
import {
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk, type Fate, type Step } from '../unit/tee/storage/crash-disk.ts';
import { bytes, contentsOf, id, openOn, TA, throwsResult } from '../unit/tee/storage/fixture.ts';

type Contents = ReadonlyMap<string, string>;
type Act = (storage: TrustedStorage) => void;

/** Every way an object can change, on small and large objects; an empty one stays the same, byte for byte. */
const SCRIPT: readonly Act[] = [
  write('a', 10, 1),
  write('b', 9000, 2),
  write('a', 5000, 3),
  write('b', 8000, 4),
  (storage) => storage.remove(TA, id('a')),
  write('c', 4072, 5),
  write('b', 100, 6),
  write('b', 9000, 7),
  write('', 0, 8),
  write('', 0, 8),
  write('', 0, 8),
  (storage) => storage.remove(TA, id('b')),
  writeTogether(['d', 10, 1], ['c', 9000, 2], ['e', 4072, 3]),
  writeTogether(['e', 10, 4], ['d', 9000, 5]),
];

function writeTogether(...objects: readonly (readonly [string, number, number])[]): Act {
  return (storage) => {
    storage.writeAll?.(
      TA,
      objects.map(([name, size, fill]) => ({ id: id(name), data: bytes(size, fill) })),
    );
  };
}

function write(name: string, lengthBytes: number, fill: number): Act {
  return (storage) => {
    storage.write(TA, id(name), bytes(lengthBytes, fill));
  };
}

interface Recording {
  readonly disk: CrashDisk;
  /** After the opening, then after each operation. */
  readonly states: readonly { readonly stepCount: number; readonly contents: Contents }[];
  readonly anchored: readonly { readonly stepCount: number; readonly rootHash: Uint8Array }[];
}

function record(script: readonly Act[]): Recording {
  const disk = new CrashDisk();
  const anchored: { stepCount: number; rootHash: Uint8Array }[] = [];
  const storage = openOn(disk, {
    load: () => anchored.at(-1)?.rootHash,
    store: (rootHash) =>
      anchored.push({ stepCount: disk.steps.length, rootHash: rootHash.slice() }),
  });
  const states = [{ stepCount: disk.steps.length, contents: contentsOf(storage) }];
  for (const act of script) {
    act(storage);
    states.push({ stepCount: disk.steps.length, contents: contentsOf(storage) });
  }
  return { disk, states, anchored };
}

/** What may be found after a cut: the state that was reached, or the one that was being made. */
function acceptable({ states }: Recording, stepCount: number): readonly Contents[] {
  const next = states.findIndex((state) => state.stepCount >= stepCount);
  const [before, after] = [states[next - 1], states[next]];
  const isDone = after?.stepCount === stepCount;
  return [isDone ? undefined : (before ?? after), after]
    .filter((state) => state !== undefined)
    .map((state) => state.contents);
}

function isRecovered(disk: CrashDisk, allowed: readonly Contents[], anchor?: Anchor): void {
  const storage = openOn(disk, anchor);
  const found = contentsOf(storage);
  assert.ok(
    allowed.some((each) => isSame(each, found)),
    `found ${[...found.keys()].join(', ')}`,
  );
  assert.equal(disk.names().length, 1 + found.size, `left over: ${disk.names().join(' ')}`);
  storage.write(TA, id('after'), bytes(20, 9));
  storage.write(TA, id('b'), bytes(9000, 9));
  const continued = new Map([...found, ['after', hex(20)], ['b', hex(9000)]]);
  assert.ok(isSame(contentsOf(openOn(disk, anchor)), continued));
}

function isSame(a: Contents, b: Contents): boolean {
  return a.size === b.size && [...a].every(([name, data]) => b.get(name) === data);
}

function hex(lengthBytes: number): string {
  return '09'.repeat(lengthBytes);
}

/** A head lies in one sector: it is not torn within its last field, which decides whether it counts. */
function torn(step: Step, at: number): number {
  const isHead = step.do === 'write' && step.offsetBytes < 136;
  return isHead && at >= 64 && at < 68 ? 68 : at;
}

const recording = record(SCRIPT);
const { disk } = recording;

describe('a power cut', () => {
  const fates: readonly (readonly [string, Fate])[] = [
    ['everything reached the disk', () => Infinity],
    ['nothing that was not synced reached the disk', () => 0],
    ['only names reached the disk', (step) => (step.do === 'write' ? 0 : 1)],
    ['only data reached the disk', (step) => (step.do === 'write' ? Infinity : 0)],
  ];
  for (const [title, fate] of fates) {
    test(`at any step leaves the old or the new object when ${title}`, () => {
      for (let cut = 0; cut <= disk.steps.length; cut += 1) {
        const left = disk.afterPowerCut(new CrashDisk(), cut, fate);
        isRecovered(left, acceptable(recording, cut));
      }
    });
  }

  test('within any write leaves the old or the new object', () => {
    disk.steps.forEach((step, last) => {
      if (step.do !== 'write') return;
      const { byteLength } = step.bytes;
      for (const at of [1, 16, 33, 64, 512, 4096, byteLength - 2, byteLength - 1]) {
        if (at >= byteLength) continue;
        const fate: Fate = (_, index) => (index === last ? torn(step, at) : Infinity);
        const left = disk.afterPowerCut(new CrashDisk(), last + 1, fate);
        isRecovered(left, acceptable(recording, last + 1));
      }
    });
  });

  test('leaves the old or the new object whatever part of the unsynced reached the disk', () => {
    const reached = fc.oneof(fc.constantFrom(0, Infinity), fc.nat({ max: 5000 }));
    const cuts = fc.nat({ max: disk.steps.length }).chain((cut) =>
      fc.record({
        cut: fc.constant(cut),
        reached: fc.array(reached, { minLength: cut, maxLength: cut }),
      }),
    );
    fc.assert(
      fc.property(cuts, (each) => {
        const left = disk.afterPowerCut(new CrashDisk(), each.cut, (step, index) =>
          torn(step, each.reached[index] ?? 0),
        );
        isRecovered(left, acceptable(recording, each.cut));
      }),
      { numRuns: 150 },
    );
  });

  test('leaves the old or the new object when the anchor has the last say', () => {
    for (let cut = 1; cut <= disk.steps.length; cut += 1) {
      const stored = recording.anchored.filter((each) => each.stepCount <= cut);
      const unsaid = stored.filter((each) => each.stepCount < cut);
      for (const anchored of [stored, unsaid]) {
        const left = disk.afterPowerCut(new CrashDisk(), cut, () => Infinity);
        const allowed = acceptable(recording, anchored === stored ? cut : cut - 1);
        isRecovered(left, allowed, anchorAt(anchored.at(-1)?.rootHash));
      }
    }
  });
});

describe('a killed process', () => {
  test('leaves the old or the new object, also when the power fails while the next one opens', () => {
    const before = disk.copy();
    const old = contentsOf(openOn(before.copy()));
    const acts: readonly Act[] = [
      write('c', 9000, 1),
      write('d', 10, 2),
      (storage) => storage.remove(TA, id('c')),
    ];
    for (const act of acts) {
      for (let kill = 0; ; kill += 1) {
        const killed = before.copy();
        const expected = afterwards(before, act);
        if (!isKilledAt(killed, kill, act)) break;
        const surviving = contentsOf(openOn(killed));
        assert.ok([old, expected].some((each) => isSame(each, surviving)));
        for (let cut = 0; cut <= killed.steps.length; cut += 1) {
          const left = killed.afterPowerCut(before, cut, () => 0);
          isRecovered(left, [old, expected]);
        }
      }
    }
  });
});

describe('a disk that fails', () => {
  const cases: readonly (readonly [string, Act])[] = [
    ['creating an object', write('new', 9000, 1)],
    ['replacing an object', write('c', 9000, 1)],
    ['removing an object', (storage) => storage.remove(TA, id('c'))],
  ];
  for (const [title, act] of cases) {
    for (const result of [TEE_ERROR_STORAGE_NO_SPACE, TEE_ERROR_STORAGE_NOT_AVAILABLE]) {
      test(`with ${result.toString(16)} while ${title} leaves the old object or is in doubt`, () => {
        const old = contentsOf(openOn(disk.copy()));
        const expected = afterwards(disk, act);
        const steps = stepsOf(disk, act);
        const headWrite = steps.findLastIndex((step) => step.do === 'write');
        for (let failing = 0; failing <= headWrite + 1; failing += 1) {
          const failed = disk.copy();
          const storage = openOn(failed);
          const from = failed.attempts;
          failed.failure = (_, attempt) => (attempt === from + failing ? result : undefined);
          throwsResult(() => {
            act(storage);
          }, result);
          failed.failure = () => undefined;
          if (failing < headWrite) {
            assert.deepEqual(contentsOf(storage), old);
            isRecovered(failed.copy(), [old]);
            act(storage);
            assert.deepEqual(contentsOf(storage), expected);
            isRecovered(failed.copy(), [expected]);
          } else {
            throwsResult(() => storage.list(TA), TEE_ERROR_STORAGE_NOT_AVAILABLE);
            throwsResult(() => {
              storage.write(TA, id('x'), bytes(1, 1));
            }, TEE_ERROR_STORAGE_NOT_AVAILABLE);
            isRecovered(failed.copy(), [old, expected]);
          }
        }
      });
    }
  }

  test('does not fail a removal that is committed already', () => {
    const failed = disk.copy();
    const storage = openOn(failed);
    failed.failure = (step) => (step.do === 'unlink' ? TEE_ERROR_STORAGE_NOT_AVAILABLE : undefined);
    assert.equal(storage.remove(TA, id('c')), true);
    failed.failure = () => undefined;
    storage.write(TA, id('again'), bytes(3, 3));
    assert.deepEqual(storage.read(TA, id('again')), bytes(3, 3));
    assert.equal(contentsOf(openOn(failed)).has('c'), false);
  });
});

function anchorAt(rootHash: Uint8Array | undefined): Anchor {
  let stored = rootHash;
  return {
    load: () => stored,
    store: (next) => {
      stored = next.slice();
    },
  };
}

function afterwards(before: CrashDisk, act: Act): Contents {
  const storage = openOn(before.copy());
  act(storage);
  return contentsOf(storage);
}

function stepsOf(before: CrashDisk, act: Act): readonly Step[] {
  const copy = before.copy();
  const storage = openOn(copy);
  const from = copy.steps.length;
  act(storage);
  return copy.steps.slice(from);
}

/** Lets nothing happen from step `kill` of the operation on; false when it has fewer steps. */
function isKilledAt(killed: CrashDisk, kill: number, act: Act): boolean {
  const storage = openOn(killed);
  const from = killed.attempts;
  const length = stepsOf(killed, act).length;
  killed.failure = (_, attempt) =>
    attempt >= from + kill ? TEE_ERROR_STORAGE_NOT_AVAILABLE : undefined;
  try {
    act(storage);
  } catch {
    // Nobody is left to see it.
  }
  killed.failure = () => undefined;
  return kill < length;
}
