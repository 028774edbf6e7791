/** A power cut where an RPMB has the last say. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { openRpmbAnchor } from '../tee/secure-world/storage/anchor.ts';
import { openRpmbDevice } from '../tee/secure-world/storage/rpmb/device.ts';
import { deriveRpmbKey } from '../tee/secure-world/storage/rpmb/driver.ts';
import {
  TEE_ERROR_COMMUNICATION,
  TEE_ERROR_STORAGE_NO_SPACE,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk, type Fate } from '../unit/tee/storage/crash-disk.ts';
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
} from '../unit/tee/storage/fixture.ts';
import {
  counterOf,
  frame,
  perform,
  readBlocks,
  signedWrite,
} from '../unit/tee/storage/rpmb-host.ts';

type Contents = ReadonlyMap<string, string>;
type Act = (storage: TrustedStorage) => void;

/** Every way an object can change: created, grown, shrunk, replaced in place, renamed, removed. */
const SCRIPT: readonly Act[] = [
  write('a', 10, 1),
  write('b', 1500, 2),
  write('a', 10, 3),
  write('a', 1200, 4),
  rename('a', 'renamed'),
  write('b', 1500, 5),
  (storage) => storage.remove(TA, id('renamed')),
  write('', 0, 8),
  write('a', 700, 9),
];

const FATES: readonly (readonly [string, Fate])[] = [
  ['everything reached the disk', () => Infinity],
  ['nothing that was not synced reached the disk', () => 0],
  ['only names reached the disk', (step) => (step.do === 'write' ? 0 : 1)],
  ['only data reached the disk', (step) => (step.do === 'write' ? Infinity : 0)],
];

function write(name: string, lengthBytes: number, fill: number): Act {
  return (storage) => {
    storage.write(TA, id(name), bytes(lengthBytes, fill));
  };
}

function rename(from: string, to: string): Act {
  return (storage) => {
    assert.equal(storage.rename(TA, id(from), id(to)), 'renamed');
  };
}

/** A file within a step may be torn anywhere. */
const TORN_AT = [1, 88, 512];

interface Recording<State> {
  readonly disk: CrashDisk;
  /** After the opening, then after each act. */
  readonly states: readonly { readonly stepCount: number; readonly state: State }[];
}

/** What may be found after a cut: what was there, or what was being made. */
function acceptable<State>({ states }: Recording<State>, stepCount: number): readonly State[] {
  const next = states.findIndex((each) => each.stepCount >= stepCount);
  const [before, after] = [states[next - 1], states[next]];
  return [after?.stepCount === stepCount ? undefined : before, after]
    .filter((each) => each !== undefined)
    .map(({ state }) => state);
}

/** Every cut, with every fate, and every write torn. */
function forEveryCut(disk: CrashDisk, check: (left: CrashDisk, stepCount: number) => void): void {
  for (let cut = 0; cut <= disk.steps.length; cut += 1) {
    for (const [, fate] of FATES) check(disk.afterPowerCut(new CrashDisk(), cut, fate), cut);
  }
  disk.steps.forEach((step, last) => {
    if (step.do !== 'write') return;
    for (const at of TORN_AT.filter((each) => each < step.bytes.byteLength)) {
      const fate: Fate = (_, index) => (index === last ? at : Infinity);
      check(disk.afterPowerCut(new CrashDisk(), last + 1, fate), last + 1);
    }
  });
}

function isSame(a: Contents, b: Contents): boolean {
  return a.size === b.size && [...a].every(([name, data]) => b.get(name) === data);
}

describe('a power cut of an RPMB', () => {
  const KEY = deriveRpmbKey(HUK, SMALL_CHIP.cid);
  const WRITES = [
    { address: 0, data: Buffer.alloc(512, 1) },
    { address: 1, data: Buffer.alloc(256, 2) },
    { address: 0, data: Buffer.alloc(512, 3) },
    { address: 30, data: Buffer.alloc(256, 4) },
    { address: 31, data: Buffer.alloc(256, 5) },
    { address: 30, data: Buffer.alloc(512, 6) },
  ];

  function seen(disk: CrashDisk): string {
    const device = openRpmbDevice(disk, SMALL_CHIP);
    return `${String(counterOf(device))} ${readBlocks(device, 0, 32).toString('hex')}`;
  }

  function recordChip(): Recording<string> {
    const disk = new CrashDisk();
    const device = openRpmbDevice(disk, SMALL_CHIP);
    const states = [{ stepCount: disk.steps.length, state: seen(disk.copy()) }];
    perform(device, frame({ type: 1, mac: KEY }));
    states.push({ stepCount: disk.steps.length, state: seen(disk.copy()) });
    for (const [counter, each] of WRITES.entries()) {
      assert.equal(perform(device, signedWrite(KEY, { counter, ...each })).result, 0);
      states.push({ stepCount: disk.steps.length, state: seen(disk.copy()) });
    }
    return { disk, states };
  }

  test('leaves a write whole or not at all, and the counter with it, at any step and within any', () => {
    const recording = recordChip();
    forEveryCut(recording.disk, (left, cut) => {
      const found = seen(left);
      assert.ok(acceptable(recording, cut).includes(found), `after ${String(cut)} steps`);
      assert.equal(seen(left.copy()), found, 'it is no other when it is opened again');
    });
  });
});

describe('a power cut of an RPMB-FS', () => {
  function record(): Recording<Contents> {
    const disk = new CrashDisk();
    const storage = openRpmbOn(disk);
    const states = [{ stepCount: disk.steps.length, state: contentsOf(storage) }];
    for (const act of SCRIPT) {
      act(storage);
      states.push({ stepCount: disk.steps.length, state: contentsOf(storage) });
    }
    return { disk, states };
  }

  const recording = record();

  function isRecovered(left: CrashDisk, allowed: readonly Contents[]): void {
    const storage = openRpmbOn(left);
    const found = contentsOf(storage);
    assert.ok(
      allowed.some((each) => isSame(each, found)),
      `found ${[...found.keys()].join(', ')}`,
    );
    storage.write(TA, id('after'), bytes(600, 9));
    storage.write(TA, id('b'), bytes(3000, 9));
    const continued = new Map([...found, ['after', '09'.repeat(600)], ['b', '09'.repeat(3000)]]);
    assert.ok(isSame(contentsOf(openRpmbOn(left)), continued));
  }

  test('leaves the old or the new object at any step and within any', () => {
    forEveryCut(recording.disk, (left, cut) => {
      isRecovered(left, acceptable(recording, cut));
    });
  });

  test('leaves the old or the new object whatever part of the unsynced reached the disk', () => {
    const { disk } = recording;
    const reached = fc.oneof(fc.constantFrom(0, Infinity), fc.nat({ max: 1200 }));
    const cuts = fc.nat({ max: disk.steps.length }).chain((cut) =>
      fc.record({
        cut: fc.constant(cut),
        reached: fc.array(reached, { minLength: cut, maxLength: cut }),
      }),
    );
    fc.assert(
      fc.property(cuts, (each) => {
        const fate: Fate = (_, index) => each.reached[index] ?? 0;
        const left = disk.afterPowerCut(new CrashDisk(), each.cut, fate);
        isRecovered(left, acceptable(recording, each.cut));
      }),
      { numRuns: 100 },
    );
  });

  test('leaves the old or the new object also when it comes while the next world opens', () => {
    const { disk } = recording;
    const cuts = disk.steps.flatMap((step, index) => (step.do === 'write' ? [index + 1] : []));
    for (const cut of cuts.filter((_, index) => index % 5 === 0)) {
      const left = disk.afterPowerCut(new CrashDisk(), cut, () => Infinity);
      const before = left.copy();
      contentsOf(openRpmbOn(left));
      for (let second = 0; second <= left.steps.length; second += 1) {
        const twice = left.afterPowerCut(before, second, () => 0);
        isRecovered(twice, acceptable(recording, cut));
      }
    }
  });
});

describe('a power cut of an anchored REE-FS', () => {
  type Place = 'ree' | 'rpmb';
  interface Both {
    readonly ree: CrashDisk;
    readonly rpmb: CrashDisk;
  }

  /** Steps of both disks in the order in which they happened. */
  function record() {
    const order: Place[] = [];
    const [ree, rpmb] = [new CrashDisk(), new CrashDisk()];
    const log = (place: Place) => () => {
      order.push(place);
      return undefined;
    };
    ree.failure = log('ree');
    rpmb.failure = log('rpmb');
    const storage = openOn(ree, openRpmbAnchor(openRpmbOn(rpmb)));
    const states = [{ stepCount: order.length, state: contentsOf(storage) }];
    for (const act of SCRIPT) {
      act(storage);
      states.push({ stepCount: order.length, state: contentsOf(storage) });
    }
    return { ree, rpmb, order, recording: { disk: ree, states } };
  }

  const recorded = record();

  function cutAt(cut: number, fate: Fate): Both {
    const done = recorded.order.slice(0, cut);
    const after = (place: Place): CrashDisk =>
      recorded[place].afterPowerCut(
        new CrashDisk(),
        done.filter((each) => each === place).length,
        fate,
      );
    return { ree: after('ree'), rpmb: after('rpmb') };
  }

  function isRecovered({ ree, rpmb }: Both, allowed: readonly Contents[]): void {
    const open = (): TrustedStorage => openOn(ree, openRpmbAnchor(openRpmbOn(rpmb)));
    const storage = open();
    const found = contentsOf(storage);
    assert.ok(
      allowed.some((each) => isSame(each, found)),
      `found ${[...found.keys()].join(', ')}`,
    );
    storage.write(TA, id('after'), bytes(20, 9));
    storage.write(TA, id('b'), bytes(9000, 9));
    const continued = new Map([...found, ['after', '09'.repeat(20)], ['b', '09'.repeat(9000)]]);
    assert.ok(isSame(contentsOf(open()), continued));
  }

  for (const [title, fate] of FATES) {
    test(`at any step of either leaves the old or the new object when ${title}`, () => {
      for (let cut = 0; cut <= recorded.order.length; cut += 1) {
        isRecovered(cutAt(cut, fate), acceptable(recorded.recording, cut));
      }
    });
  }

  test('after the commit of dirf.db and before that of its hash leaves the old object, for good', () => {
    const from = recorded.recording.states[0]?.stepCount ?? assert.fail();
    const at = recorded.order.findIndex((place, index) => index > from && place === 'rpmb');
    const both = cutAt(at, () => Infinity);
    const [old] = acceptable(recorded.recording, at);
    assert.deepEqual(contentsOf(openOn(both.ree.copy())), recorded.recording.states[1]?.state);
    isRecovered(both, [old ?? assert.fail()]);
  });

  test('of which only the disk of the RPMB had a failure lets the next act decide', () => {
    const [ree, rpmb] = [new CrashDisk(), new CrashDisk()];
    const storage = openOn(ree, openRpmbAnchor(openRpmbOn(rpmb)));
    storage.write(TA, id('a'), bytes(10, 1));
    rpmb.failure = () => TEE_ERROR_STORAGE_NO_SPACE;
    throwsResult(() => {
      storage.write(TA, id('a'), bytes(10, 2));
    }, TEE_ERROR_COMMUNICATION);
    assert.throws(() => storage.list(TA));
    rpmb.failure = () => undefined;
    isRecovered({ ree, rpmb }, [new Map([['a', '01'.repeat(10)]])]);
  });
});
