import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import {
  next,
  resume,
  type Effect,
  type Event,
  type Failure,
  type Plan,
  type State,
  type Step,
} from '../../../agent/cycle/machine.ts';
import { formatState, parseState } from '../../../agent/cycle/state.ts';
import { isOtaError } from '../../../agent/errors.ts';
import { throwsCode } from '../../support/expect-code.ts';
import { TRANSITIONS } from '../../crash/points.ts';
import { targetFor } from '../../support/targets.ts';

const plan: Plan = { correlationId: 'urn:here-ota:mtu:1', targets: [targetFor(Buffer.from('v2'))] };
const failure: Failure = {
  code: 'INSTALL_FAILED',
  details: { installer: 'ab-slot', ecu: 'ecu-1', cause: 'EIO' },
  description: 'INSTALL_FAILED installer=ab-slot ecu=ecu-1 cause=EIO',
};

const BOOT_1 = { bootId: 'boot-1', uptimeMs: 100_000 };
const BOOT_2 = { bootId: 'boot-2', uptimeMs: 5 };
const states: readonly State[] = [
  { at: 'idle' },
  { at: 'downloading', plan, attempt: 1 },
  { at: 'paused', plan },
  { at: 'holding', plan, before: 'download' },
  { at: 'holding', plan, before: 'install' },
  { at: 'writing', plan, attempt: 1 },
  { at: 'activating', plan, bootId: 'boot-1', attempt: 1 },
  { at: 'awaiting-boot', plan, bootId: 'boot-1' },
  { at: 'confirming', plan, bootId: 'boot-1', boots: 1, sinceMs: 5 },
  { at: 'rolling-back', plan, failure, attempt: 1, untriedBootId: undefined },
  { at: 'rolling-back', plan, failure, attempt: 5, untriedBootId: 'boot-1' },
  { at: 'returning', plan, failure, attempt: 1, bootId: 'boot-1' },
  { at: 'reporting', result: { plan, failure: undefined, kept: [] } },
  { at: 'reporting', result: { plan, failure, kept: ['ecu-1'] } },
];
const events: readonly Event[] = [
  { type: 'planned', plan },
  { type: 'downloaded' },
  { type: 'download-failed', failure, advice: 'retry' },
  { type: 'download-failed', failure, advice: 'postpone' },
  { type: 'download-failed', failure, advice: 'give-up' },
  { type: 'held', plan },
  { type: 'released' },
  { type: 'pause-requested' },
  { type: 'resume-requested' },
  { type: 'abort-requested' },
  { type: 'withdrawn' },
  { type: 'written', bootId: 'boot-1' },
  { type: 'install-failed', failure, bootId: 'boot-1' },
  { type: 'activated', takesEffect: 'now', uptimeMs: 5 },
  { type: 'activated', takesEffect: 'after-reboot', uptimeMs: 5 },
  { type: 'booted', image: 'new', bootId: 'boot-2', uptimeMs: 5 },
  { type: 'booted', image: 'old', ecu: 'ecu-1', others: 'old', bootId: 'boot-2', uptimeMs: 5 },
  { type: 'confirmed' },
  { type: 'unhealthy', failure },
  { type: 'rolled-back', kept: [] },
  { type: 'roll-back-chosen', bootId: 'boot-2' },
  { type: 'roll-back-failed' },
  { type: 'roll-back-requested' },
  { type: 'reported' },
];

describe('next', () => {
  test('goes from a plan over download, writing and a trial boot to a confirmed report', () => {
    const good: readonly Event[] = [
      { type: 'planned', plan },
      { type: 'downloaded' },
      { type: 'written', bootId: 'boot-1' },
      { type: 'activated', takesEffect: 'after-reboot', uptimeMs: 100 },
      { type: 'booted', image: 'new', bootId: 'boot-2', uptimeMs: 5 },
      { type: 'confirmed' },
      { type: 'reported' },
    ];
    let state: State = { at: 'idle' };
    const effects: Effect['do'][] = [];
    for (const event of good) {
      const step = next(state, event);
      effects.push(step.effect.do);
      ({ state } = step);
    }
    assert.deepEqual(state, { at: 'idle' });
    assert.deepEqual(effects, [
      'download',
      'write',
      'activate',
      'reboot',
      'confirm',
      'report',
      'wait',
    ]);
  });

  test('a boot loader that fell back ends the update as rolled back', () => {
    const waiting = { at: 'awaiting-boot', plan, bootId: 'boot-1' } as const;
    const { state, effect } = next(waiting, {
      type: 'booted',
      image: 'old',
      ecu: 'ecu-1',
      others: 'old',
      ...BOOT_2,
    });
    assert.equal(effect.do, 'roll-back');
    assert.ok(state.at === 'rolling-back');
    assert.equal(state.failure.code, 'ROLLED_BACK');
  });

  test('power lost between choosing and remembering chooses again, for the new boot', () => {
    const cut = { at: 'activating', plan, bootId: 'boot-1', attempt: 1 } as const;
    assert.deepEqual(
      next(cut, { type: 'booted', image: 'old', ecu: 'ecu-1', others: 'old', ...BOOT_2 }),
      {
        state: { at: 'activating', plan, bootId: 'boot-2', attempt: 2 },
        effect: { do: 'activate', plan },
      },
    );
  });

  test('a bad way postpones an update and forgets nothing but the attempt', () => {
    const loading = { at: 'downloading', plan, attempt: 5 } as const;
    assert.deepEqual(next(loading, { type: 'download-failed', failure, advice: 'postpone' }), {
      state: { at: 'idle' },
      effect: { do: 'wait' },
    });
  });

  test('a person stops a download, lets it go on, or ends it', () => {
    const loading = { at: 'downloading', plan, attempt: 3 } as const;
    const { state: paused, effect } = next(loading, { type: 'pause-requested' });
    assert.deepEqual([paused, effect], [{ at: 'paused', plan }, { do: 'wait' }]);
    assert.deepEqual(resume(paused, BOOT_1), { state: paused, effect: { do: 'wait' } });
    assert.deepEqual(next(paused, { type: 'resume-requested' }).state, { ...loading, attempt: 1 });
    assert.deepEqual(next(paused, { type: 'withdrawn' }).state, { at: 'idle' });
    for (const state of [loading, paused]) {
      const { state: ended } = next(state, { type: 'abort-requested' });
      assert.ok(ended.at === 'reporting');
      assert.equal(ended.result.failure?.code, 'UPDATE_ABORTED');
    }
  });

  test('a boot loader that fell back on every ECU leaves nothing to reboot for', () => {
    const waiting = { at: 'awaiting-boot', plan, bootId: 'boot-1' } as const;
    for (const [others, untriedBootId] of [
      ['old', 'boot-2'],
      ['new', undefined],
    ] as const) {
      const event = { type: 'booted', image: 'old', ecu: 'ecu-1', others, ...BOOT_2 } as const;
      const { state } = next(waiting, event);
      assert.ok(state.at === 'rolling-back');
      assert.equal(state.untriedBootId, untriedBootId);
    }
  });

  test('refuses an event that cannot happen here', () => {
    throwsCode(() => next({ at: 'idle' }, { type: 'downloaded' }), 'BUG', {
      what: 'downloaded while idle',
    });
  });

  test('never activates what was not written, whatever happens in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events), { maxLength: 30 }), (sequence) => {
        let state: State = { at: 'idle' };
        let written = false;
        for (const event of sequence) {
          const step = tryNext(state, event);
          if (step === undefined) continue;
          if (event.type === 'planned') written = false;
          if (event.type === 'written') written = true;
          if (step.effect.do === 'activate') assert.ok(written);
          ({ state } = step);
        }
      }),
    );
  });
});

test('the transitions that crash tests know are those of the machine', () => {
  // Counted anew by `resume`, and not by an event.
  const found = new Set(['writing>writing']);
  for (const state of states) {
    for (const event of events) {
      const step = tryNext(state, event);
      if (step !== undefined) found.add(`${state.at}>${step.state.at}`);
    }
  }
  assert.deepEqual([...found].sort(), [...TRANSITIONS].sort());
});

describe('a loop', () => {
  /** What may happen in `state`, over and over, without any of it going well. */
  const misfortunes: Readonly<Record<Effect['do'], readonly Event[]>> = {
    download: [{ type: 'download-failed', failure, advice: 'give-up' }],
    write: [{ type: 'install-failed', failure, bootId: 'boot-1' }],
    activate: [
      { type: 'install-failed', failure, bootId: 'boot-1' },
      { type: 'activated', takesEffect: 'after-reboot', uptimeMs: 5 },
    ],
    reboot: [],
    'check-boot': [
      { type: 'booted', image: 'old', ecu: 'ecu-1', others: 'new', ...BOOT_2 },
      { type: 'booted', image: 'new', ...BOOT_2 },
    ],
    confirm: [{ type: 'unhealthy', failure }],
    'roll-back': [{ type: 'roll-back-failed' }, { type: 'roll-back-chosen', bootId: 'boot-1' }],
    'check-return': [{ type: 'roll-back-failed' }, { type: 'rolled-back', kept: [] }],
    report: [],
    wait: [],
  };
  /** Power cuts and reboots are possible wherever the device is. */
  const fate = fc.record({
    crash: fc.boolean(),
    boot: fc.integer({ min: 0, max: 3 }),
    event: fc.nat({ max: 1 }),
  });

  test('of crashes, reboots and failures ends in a report, whatever they are', () => {
    fc.assert(
      fc.property(fc.array(fate, { minLength: 200, maxLength: 200 }), (fates) => {
        let step: Step = {
          state: { at: 'writing', plan, attempt: 1 },
          effect: { do: 'write', plan },
        };
        let boots = 0;
        for (const { crash, boot, event: which } of fates) {
          if (step.state.at === 'reporting') return;
          const possible = misfortunes[step.effect.do];
          const event = possible[which % Math.max(possible.length, 1)];
          // Some effects end with a boot, and all may end with a crash.
          if (crash || event === undefined) {
            if (boot === 0 || event === undefined) boots += 1;
            step = resume(step.state, { bootId: `boot-${String(boots)}`, uptimeMs: 5 });
          } else if (step.effect.do === 'check-return' && !step.effect.retry) {
            step = next(step.state, { type: 'rolled-back', kept: [] });
          } else step = next(step.state, event);
        }
        assert.equal(step.state.at, 'reporting');
      }),
    );
  });
});

describe('resume', () => {
  test('has an answer for every state, in this boot and in the next', () => {
    for (const state of states) {
      for (const boot of [BOOT_1, BOOT_2]) {
        assert.ok(resume(state, boot).effect.do.length > 0, state.at);
      }
    }
  });

  test('starts the writing that power cut short over again: only what does not run is touched', () => {
    assert.deepEqual(resume({ at: 'writing', plan, attempt: 1 }, BOOT_1), {
      state: { at: 'writing', plan, attempt: 2 },
      effect: { do: 'write', plan },
    });
  });

  test('asks again which image runs when a boot came between the new image and its confirmation', () => {
    const seen = { boots: 1, sinceMs: 5 };
    const confirming = { at: 'confirming', plan, bootId: 'boot-1', ...seen } as const;
    assert.deepEqual(resume(confirming, BOOT_1).effect, { do: 'confirm', plan, sinceMs: 5 });
    assert.deepEqual(resume(confirming, BOOT_2).effect, { do: 'check-boot', plan });
  });

  test('asks which image runs only after the boot id has changed', () => {
    const waiting = { at: 'awaiting-boot', plan, bootId: 'boot-1' } as const;
    assert.deepEqual(resume(waiting, BOOT_1).effect, { do: 'reboot', plan });
    assert.deepEqual(resume(waiting, BOOT_2).effect, { do: 'check-boot', plan });
  });
});

/** As the first version wrote them: no counts, and nothing of what came later. */
const PLAN_TEXT = `"plan":{"correlationId":"urn:here-ota:mtu:1","targets":[{"ecu":"ecu-1","hardwareId":"board","filename":"fw","lengthBytes":2,"hashes":{"sha256":"00"}}]}`;
const FAILURE_TEXT = `"failure":{"code":"INSTALL_FAILED","details":{"ecu":"ecu-1"},"description":"d"}`;
const OLD_STATES: Readonly<Record<string, Effect['do']>> = {
  '{"at":"idle"}': 'wait',
  [`{"at":"downloading",${PLAN_TEXT},"attempt":2}`]: 'download',
  [`{"at":"writing",${PLAN_TEXT}}`]: 'write',
  [`{"at":"activating",${PLAN_TEXT},"bootId":"boot-1"}`]: 'activate',
  [`{"at":"awaiting-boot",${PLAN_TEXT},"bootId":"boot-1"}`]: 'reboot',
  [`{"at":"confirming",${PLAN_TEXT},"bootId":"boot-1"}`]: 'confirm',
  [`{"at":"rolling-back",${PLAN_TEXT},${FAILURE_TEXT}}`]: 'roll-back',
  [`{"at":"reporting","result":{${PLAN_TEXT}}}`]: 'report',
  [`{"at":"reporting","result":{${PLAN_TEXT},${FAILURE_TEXT}}}`]: 'report',
};

describe('the state on disk', () => {
  test('of the first version is gone on with', () => {
    for (const [text, effect] of Object.entries(OLD_STATES)) {
      const state = parseState(text);
      assert.equal(resume(state, BOOT_1).effect.do, effect, text);
      assert.deepEqual(parseState(formatState(state)), state);
    }
  });

  test('of a trial that the first version began has its deadline from now on', () => {
    const text = `{"at":"confirming",${PLAN_TEXT},"bootId":"boot-1"}`;
    const { state } = resume(parseState(text), BOOT_1);
    assert.ok(state.at === 'confirming');
    assert.equal(state.sinceMs, BOOT_1.uptimeMs);
  });

  test('reads back as it was written, for every state', () => {
    for (const state of states) assert.deepEqual(parseState(formatState(state)), state);
  });

  test('anything else is refused as corrupt, naming where', () => {
    for (const text of ['', '{}', '{"at":"flying"}', '{"at":"writing"}', '[1]', '{"at":"idle"']) {
      assert.throws(
        () => parseState(text),
        (error) =>
          isOtaError(error) &&
          error.code === 'STORAGE_CORRUPT' &&
          error.details.path === 'cycle_state',
        text,
      );
    }
  });
});

function tryNext(state: State, event: Event): ReturnType<typeof next> | undefined {
  try {
    return next(state, event);
  } catch (error) {
    assert.ok(isOtaError(error) && error.code === 'BUG');
    return undefined;
  }
}
