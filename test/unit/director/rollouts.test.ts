import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { Refusal } from '../../director/failure.ts';
import { JsonReader, parseJson } from '../../director/json/read-json.ts';
import { dealOut, matches, phaseOfLate, type DeviceFacts } from '../../director/rollouts/groups.ts';
import { advance, command, COMMANDS, isBegun } from '../../director/rollouts/machine.ts';
import { readRollout } from '../../director/rollouts/read-rollout.ts';
import {
  isOver,
  neededOf,
  NO_DEVICES,
  sizeOf,
  type MemberState,
  type Phase,
  type PhaseCounts,
  type Rollout,
} from '../../director/rollouts/rollout.ts';
import { refuses } from './refuses.ts';

const NOW = Date.parse('2030-01-01T00:00:00Z');

function rollout(phases: readonly Partial<Phase>[]): Rollout {
  const body = {
    name: 'r',
    image: 'fw',
    phases: phases.map((phase) => ({ percentage: 100, ...phase })),
  };
  return readRollout(new JsonReader(parseJson(JSON.stringify(body))), NOW);
}

function running(phases: readonly Partial<Phase>[]): Rollout {
  return command(rollout(phases), 'start', NOW);
}

function counts(of: Partial<PhaseCounts>): PhaseCounts {
  return { ...NO_DEVICES, ...of };
}

function facts(id: string, more: Partial<DeviceFacts> = {}): DeviceFacts {
  return { id, hardwareIds: [], versions: [], tags: [], ...more };
}

describe('a rollout', () => {
  test('begins the next phase when enough devices succeeded, not before', () => {
    const two = running([{ percentage: 10, successPercent: 75 }, {}]);
    const rest = counts({ waiting: 30 });
    assert.equal(advance(two, [counts({ succeeded: 2, assigned: 2 }), rest], NOW), two);
    const next = advance(two, [counts({ succeeded: 3, assigned: 1 }), rest], NOW);
    assert.deepEqual([next.phase, next.state], [1, 'running']);
  });

  test('is watched for the time of its soak first, and anew after a pause', () => {
    const soaking = running([{ percentage: 10, soakSeconds: 60 }, {}]);
    const good = [counts({ succeeded: 4 }), counts({ waiting: 30 })];
    const met = advance(soaking, good, NOW);
    assert.deepEqual([met.phase, met.metAt], [0, '2030-01-01T00:00:00.000Z']);
    assert.equal(advance(met, good, NOW + 59_999), met);
    assert.equal(advance(met, good, NOW + 60_000).phase, 1);
    const resumed = command(command(met, 'pause', NOW), 'resume', NOW + 100_000);
    const again = advance(resumed, good, NOW + 100_000);
    assert.equal(again.phase, 0);
    assert.equal(advance(again, good, NOW + 159_999), again);
    assert.equal(advance(again, good, NOW + 160_000).phase, 1);
  });

  test('stops when enough devices failed, says in which phase, and also while it is paused', () => {
    const two = running([{ percentage: 10, failurePercent: 20 }, {}]);
    const bad = [counts({ failed: 2, succeeded: 8 }), counts({ waiting: 90 })];
    for (const one of [two, command(two, 'pause', NOW)]) {
      const { state, reason } = advance(one, bad, NOW);
      assert.equal(state, 'stopped');
      assert.match(reason, /^phase 1 failed on 2 of 10 devices, and 20 % is the limit$/u);
    }
    const fewer = [counts({ failed: 1, succeeded: 8, waiting: 1 }), counts({ waiting: 90 })];
    assert.equal(advance(two, fewer, NOW).state, 'running');
  });

  test('stops when devices of an earlier phase fail later', () => {
    const second = command(running([{ percentage: 10 }, {}]), 'advance', NOW);
    const late = [counts({ failed: 1, succeeded: 3 }), counts({ assigned: 90 })];
    assert.equal(advance(second, late, NOW).state, 'stopped');
  });

  test('pauses when the devices that are left are too few for success', () => {
    const strict = running([{ percentage: 10, successPercent: 100, failurePercent: 50 }, {}]);
    const { state, reason } = advance(strict, [counts({ succeeded: 9, failed: 1 })], NOW);
    assert.equal(state, 'paused');
    assert.match(reason, /cannot reach 10 devices/u);
  });

  test('ends when every device has ended', () => {
    const one = running([{}]);
    assert.equal(advance(one, [counts({ succeeded: 19, assigned: 1 })], NOW), one);
    assert.equal(advance(one, [counts({ succeeded: 19, failed: 1 })], NOW).state, 'finished');
  });

  for (const [wanted, state] of [
    ['start', 'running'],
    ['pause', 'draft'],
    ['resume', 'running'],
    ['advance', 'draft'],
    ['cancel', 'finished'],
    ['stop', 'draft'],
    ['stop', 'finished'],
    ['stop', 'stopped'],
  ] as const) {
    test(`that is ${state} refuses ${wanted}, and says when it makes sense`, () => {
      const one = { ...rollout([{}]), state };
      refuses(() => command(one, wanted, NOW), 409, 'rollout_state');
    });
  }

  test('has no phase after the last to go on to', () => {
    refuses(() => command(running([{}]), 'advance', NOW), 409, 'rollout_last_phase');
  });

  for (const [what, change] of [
    ['no phases', { phases: [] }],
    ['a share of 0', { phases: [{ percentage: 0 }] }],
    ['a share above 100', { phases: [{ percentage: 101 }] }],
    ['a filter that is misspelt', { filter: { hardware: ['x'] } }],
    ['no name', { name: '' }],
  ] as const) {
    test(`with ${what} is refused`, () => {
      const body = { name: 'r', image: 'fw', phases: [{ percentage: 1 }], ...change };
      const reader = new JsonReader(parseJson(JSON.stringify(body)));
      refuses(() => readRollout(reader, NOW), 400, 'json_malformed');
    });
  }
});

describe('the devices of a rollout', () => {
  test('are those of the hardware, the version and the tag, all three', () => {
    const filter = { hardwareIds: ['gw'], versions: ['1', '2'], tags: ['lab'] };
    const device = facts('d', { hardwareIds: ['cam', 'gw'], versions: ['2'], tags: ['lab', 'x'] });
    assert.equal(matches(filter, device), true);
    assert.equal(matches(filter, { ...device, hardwareIds: ['cam'] }), false);
    assert.equal(matches(filter, { ...device, versions: ['3'] }), false);
    assert.equal(matches(filter, { ...device, tags: [] }), false);
    assert.equal(matches({ hardwareIds: [], versions: [], tags: [] }, facts('d')), true);
  });

  test('are dealt out exactly: the share of each phase, rounded up, each device once', () => {
    const three = rollout([{ percentage: 1 }, { percentage: 25 }, { percentage: 100 }]);
    const devices = Array.from({ length: 30 }, (_, at) => facts(`d-${String(at)}`));
    const members = [...dealOut(three, devices).values()];
    const sizes = [0, 1, 2].map((phase) => members.filter((one) => one === phase).length);
    assert.deepEqual(sizes, [1, 7, 22]);
    const other = dealOut(rollout([{ percentage: 1 }, { percentage: 100 }]), devices);
    assert.equal(other.size, 30);
  });

  test('with a tag come first where a phase is for them, and nobody else does', () => {
    const canary = rollout([{ percentage: 100, tags: ['canary'] }, { percentage: 100 }]);
    const devices = [facts('a'), facts('b', { tags: ['canary'] }), facts('c')];
    const members = dealOut(canary, devices);
    assert.deepEqual([members.get('a'), members.get('b'), members.get('c')], [1, 0, 1]);
    assert.equal(phaseOfLate(canary, facts('late', { tags: ['canary'] })), 0);
    assert.equal(phaseOfLate(canary, facts('late')), 1);
  });

  test('that come late are in the phase of their share, always the same', () => {
    const half = rollout([{ percentage: 50 }]);
    const ids = Array.from({ length: 1000 }, (_, at) => `late-${String(at)}`);
    const inside = ids.filter((id) => phaseOfLate(half, facts(id)) === 0);
    assert.ok(inside.length > 420 && inside.length < 580, String(inside.length));
    assert.deepEqual(
      ids.filter((id) => phaseOfLate(half, facts(id)) === 0),
      inside,
    );
  });
});

/** What may happen to a rollout from outside, in any order. */
type Step =
  | { readonly do: 'poll' | 'succeed' | 'fail'; readonly device: number }
  | { readonly do: 'wait'; readonly seconds: number }
  | { readonly do: 'command'; readonly command: (typeof COMMANDS)[number] };

const phases = fc
  .array(
    fc.record({
      percentage: fc.integer({ min: 1, max: 100 }),
      successPercent: fc.integer({ min: 1, max: 100 }),
      failurePercent: fc.integer({ min: 1, max: 100 }),
      soakSeconds: fc.integer({ min: 0, max: 100 }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((all) => all.sort((a, b) => a.percentage - b.percentage));

const steps = fc.array(
  fc.oneof(
    { weight: 10, arbitrary: deviceStep('poll') },
    { weight: 10, arbitrary: deviceStep('succeed') },
    { weight: 2, arbitrary: deviceStep('fail') },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('wait' as const),
        seconds: fc.integer({ min: 1, max: 200 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('command' as const),
        command: fc.constantFrom(...COMMANDS),
      }),
    },
  ),
  { minLength: 50, maxLength: 200, size: 'max' },
);

function deviceStep<D extends 'poll' | 'succeed' | 'fail'>(
  what: D,
): fc.Arbitrary<{ do: D; device: number }> {
  return fc.record({ do: fc.constant(what), device: fc.nat({ max: 9 }) });
}

/** A fleet that obeys the rollout, and remembers who was assigned how often. */
class Fleet {
  readonly members: { readonly phase: number; state: MemberState }[];
  readonly assignedTimes: number[];
  rollout: Rollout;
  nowMs = NOW;

  constructor(one: Rollout, size: number) {
    const devices = Array.from({ length: size }, (_, at) => facts(String(at)));
    this.members = [...dealOut(one, devices).values()].map((phase) => ({
      phase,
      state: 'waiting',
    }));
    this.assignedTimes = this.members.map(() => 0);
    this.rollout = command(one, 'start', NOW);
  }

  counts(): readonly PhaseCounts[] {
    return this.rollout.phases.map((_, phase) =>
      this.members
        .filter((one) => one.phase === phase)
        .reduce((sum, { state }) => ({ ...sum, [state]: sum[state] + 1 }), NO_DEVICES),
    );
  }

  take(step: Step): void {
    if (step.do === 'wait') this.nowMs += step.seconds * 1000;
    else if (step.do === 'command') this.#command(step.command);
    else this.#device(step.do, step.device);
    this.rollout = advance(this.rollout, this.counts(), this.nowMs);
  }

  #command(wanted: (typeof COMMANDS)[number]): void {
    try {
      this.rollout = command(this.rollout, wanted, this.nowMs);
    } catch (error) {
      assert.ok(error instanceof Refusal, String(error));
    }
  }

  #device(what: 'poll' | 'succeed' | 'fail', at: number): void {
    const member = this.members[at];
    if (member === undefined) return;
    if (what === 'poll' && member.state === 'waiting' && isBegun(this.rollout, member.phase)) {
      member.state = 'assigned';
      this.assignedTimes[at] = (this.assignedTimes[at] ?? 0) + 1;
    }
    if (member.state !== 'assigned' || what === 'poll') return;
    member.state = what === 'succeed' ? 'succeeded' : 'failed';
  }
}

describe('whatever devices and operators do', () => {
  test('a phase begins only after the one before was met or an operator said so, and never ends', () => {
    fc.assert(
      fc.property(phases, fc.integer({ min: 1, max: 10 }), steps, (wanted, size, taken) => {
        const fleet = new Fleet(rollout(wanted), size);
        for (const step of taken) {
          const before = fleet.rollout;
          fleet.take(step);
          holds(before, fleet, step);
        }
        assert.ok(fleet.assignedTimes.every((times) => times <= 1));
      }),
      { numRuns: 300 },
    );
  });

  test('a rollout on which every device succeeds is finished, with no help', () => {
    fc.assert(
      fc.property(phases, fc.integer({ min: 1, max: 40 }), (wanted, size) => {
        const fleet = new Fleet(rollout(wanted), size);
        for (let round = 0; round < 10; round += 1) {
          for (let device = 0; device < size; device += 1) {
            fleet.take({ do: 'poll', device });
            fleet.take({ do: 'succeed', device });
          }
          fleet.take({ do: 'wait', seconds: 101 });
          fleet.take({ do: 'wait', seconds: 101 });
        }
        assert.equal(fleet.rollout.state, 'finished');
        assert.ok(fleet.members.every(({ state }) => state === 'succeeded'));
      }),
    );
  });
});

function holds(before: Rollout, { rollout: now, ...fleet }: Fleet, step: Step): void {
  assert.ok(now.phase >= before.phase, 'phases do not go back');
  if (isOver(before) && before.state !== 'cancelled') assert.equal(now, before);
  const members = (phase: number): PhaseCounts =>
    fleet.members
      .filter((one) => one.phase === phase)
      .reduce((sum, { state }) => ({ ...sum, [state]: sum[state] + 1 }), NO_DEVICES);
  const forced = step.do === 'command' && step.command === 'advance';
  if (now.phase > before.phase && !forced) wasEarned(before, members(before.phase), fleet.nowMs);
  const isBroken = now.phases.some((phase, at) => {
    const { failed } = members(at);
    return failed > 0 && failed * 100 >= phase.failurePercent * sizeOf(members(at));
  });
  assert.ok(now.state !== 'running' || !isBroken, 'within the limit');
  for (const { phase, state } of fleet.members) {
    assert.ok(state === 'waiting' || phase <= now.phase, 'not begun before its phase');
  }
}

function wasEarned(before: Rollout, here: PhaseCounts, nowMs: number): void {
  const phase = before.phases[before.phase];
  assert.ok(phase !== undefined && here.succeeded >= neededOf(phase, here), 'met');
  const soakedMs = nowMs - Date.parse(before.metAt ?? '');
  const needsSoak = phase.soakSeconds > 0 && sizeOf(here) > 0;
  assert.ok(!needsSoak || soakedMs >= phase.soakSeconds * 1000, 'soaked');
}
