/** Maintenance windows: against another implementation of the time zones, and against themselves. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { formatWindow, parseWindow } from '../../../agent/config-window.ts';
import { isOpen, nextOpening, type Window } from '../../../agent/cycle/window.ts';
import { parseInstant, type Instant } from '../../../agent/uptane/time.ts';

const ZONES = [
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe', // half an hour
  'Asia/Kathmandu', // a quarter of an hour off, and never moved
  'America/Santiago', // moved at midnight
  'America/St_Johns', // half an hour off, and moved
  'UTC',
];
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const at = (text: string): Instant => parseInstant(text, 'now');
const window = (text: string): Window => parseWindow(text) ?? assert.fail(text);

const zones = fc.constantFrom(...ZONES);
/** In the years of which the tables of both sides are settled, often near a change of the clocks. */
const instants = fc
  .oneof(
    fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2027, 0) }),
    fc
      .tuple(
        fc.constantFrom(
          '2026-03-29T01:00',
          '2026-10-25T01:00',
          '2026-03-08T07:00',
          '2026-11-01T06:00',
        ),
        fc.integer({ min: -240, max: 240 }),
      )
      .map(([base, minutes]) => Date.parse(`${base}:00Z`) + minutes * MINUTE_MS),
    fc
      .tuple(
        fc.constantFrom('2026-04-05T04:00', '2026-09-06T04:00', '2026-04-04T15:00'),
        fc.integer({ min: -240, max: 240 }),
      )
      .map(([base, minutes]) => Date.parse(`${base}:00Z`) + minutes * MINUTE_MS),
  )
  .map((ms) => (Math.floor(ms / 1000) * 1000) as Instant);
const windows: fc.Arbitrary<Window> = fc
  .record({
    days: fc.subarray([1, 2, 3, 4, 5, 6, 7], { minLength: 1 }),
    fromMinute: fc.oneof(fc.integer({ min: 0, max: 239 }), fc.integer({ min: 0, max: 1439 })),
    toMinute: fc.oneof(fc.integer({ min: 1, max: 240 }), fc.integer({ min: 1, max: 1440 })),
    zone: zones,
  })
  .filter(({ fromMinute, toMinute }) => fromMinute !== toMinute);

describe('isOpen', () => {
  test('agrees with the C library’s idea of the wall clock', () => {
    const samples = fc.sample(fc.tuple(windows, instants), { numRuns: 2000, seed: 7 });
    for (const zone of ZONES) {
      const own = samples.filter(([one]) => one.zone === zone);
      const input = own.map(([, now]) => `@${String(now / 1000)}\n`).join('');
      const env = { ...process.env, TZ: zone };
      const out = execFileSync('date', ['-f', '-', '+%u %H %M'], { input, env, encoding: 'utf8' });
      for (const [index, line] of out.trim().split('\n').entries()) {
        const [one, now] = own[index] ?? assert.fail();
        const [day = 0, hour = 0, minute = 0] = line.split(' ').map(Number);
        assert.equal(
          isOpen(one, now),
          covers(one, day, 60 * hour + minute),
          `${formatWindow(one)} at ${new Date(now).toISOString()}`,
        );
      }
    }
  });

  /** Written down the other way round: every minute of the week that the window has. */
  function covers({ days, fromMinute, toMinute }: Window, day: number, minute: number): boolean {
    const length = toMinute > fromMinute ? toMinute - fromMinute : toMinute + 1440 - fromMinute;
    const week = 7 * 1440;
    const now = (day - 1) * 1440 + minute;
    return days.some((first) => (now - ((first - 1) * 1440 + fromMinute) + week) % week < length);
  }

  test('where the clocks go forward over 02:00 to 03:00, a window from 02:00 to 04:00 is an hour', () => {
    const night = window('02:00-04:00 Europe/Berlin');
    assert.equal(isOpen(night, at('2026-03-29T00:59:59Z')), false);
    assert.equal(isOpen(night, at('2026-03-29T01:00:00Z')), true);
    assert.equal(isOpen(night, at('2026-03-29T02:00:00Z')), false);
  });

  test('where they go back, it is three', () => {
    const night = window('02:00-04:00 Europe/Berlin');
    assert.equal(isOpen(night, at('2026-10-24T23:59:59Z')), false);
    assert.equal(isOpen(night, at('2026-10-25T00:00:00Z')), true);
    assert.equal(isOpen(night, at('2026-10-25T02:59:59Z')), true);
    assert.equal(isOpen(night, at('2026-10-25T03:00:00Z')), false);
  });

  test('one over midnight belongs to the day on which it begins', () => {
    const night = window('Fri 22:00-02:00 UTC');
    assert.equal(isOpen(night, at('2026-11-27T22:00:00Z')), true, 'Friday');
    assert.equal(isOpen(night, at('2026-11-28T01:59:59Z')), true, 'Saturday');
    assert.equal(isOpen(night, at('2026-11-28T22:00:00Z')), false, 'Saturday evening');
    assert.equal(isOpen(night, at('2026-11-27T01:00:00Z')), false, 'Friday morning');
  });
});

describe('nextOpening', () => {
  test('is open, and no instant between is', () => {
    fc.assert(
      fc.property(fc.array(windows, { minLength: 1, maxLength: 3 }), instants, (all, now) => {
        const open = (when: number): boolean => all.some((one) => isOpen(one, when as Instant));
        const next = nextOpening(all, now);
        if (next === undefined) return;
        assert.ok(open(next));
        if (next === now) return;
        assert.equal(open(next - 1), false, 'it opens then and not before');
        for (let when = now; when < next; when = (when + 7 * MINUTE_MS) as Instant) {
          assert.equal(open(when), false, new Date(when).toISOString());
        }
      }),
      { numRuns: 150, seed: 11 },
    );
  });

  test('a window that the clocks leave out opens at its next turn', () => {
    const short = [window('Sun 02:15-02:45 Europe/Berlin')];
    assert.equal(nextOpening(short, at('2026-03-28T12:00:00Z')), at('2026-04-05T00:15:00Z'));
  });

  test('there is one within two weeks for every window', () => {
    fc.assert(
      fc.property(windows, instants, (one, now) => {
        const next = nextOpening([one], now) ?? assert.fail();
        assert.ok(next - now <= 15 * DAY_MS);
      }),
      { numRuns: 200, seed: 13 },
    );
  });
});

describe('parseWindow', () => {
  test('reads days, spans of days and none, and writes them so that they are read again', () => {
    assert.deepEqual(window('Mon..Fri 02:00-04:00 Europe/Berlin'), {
      days: [1, 2, 3, 4, 5],
      fromMinute: 120,
      toMinute: 240,
      zone: 'Europe/Berlin',
    });
    assert.deepEqual(window('Sat..Mon,Wed 00:00-24:00 UTC').days, [1, 3, 6, 7]);
    assert.deepEqual(window('23:30-00:10 UTC').days, [1, 2, 3, 4, 5, 6, 7]);
    fc.assert(
      fc.property(windows, (one) => {
        assert.deepEqual(parseWindow(formatWindow(one)), { ...one });
      }),
    );
  });

  for (const [text, why] of [
    ['02:00-04:00', 'no time zone: that of the device is nobody’s choice'],
    ['02:00-04:00 Europe/Atlantis', 'a zone that is not there'],
    ['Mo..Fr 02:00-04:00 UTC', 'other names of days'],
    ['Mon-Fri 02:00-04:00 UTC', 'a span with a hyphen'],
    ['02:00-02:00 UTC', 'empty, or a whole day'],
    ['24:00-02:00 UTC', 'a beginning that is no time of day'],
    ['02:60-04:00 UTC', 'sixty minutes'],
    ['2:00-4:00 UTC', 'one digit'],
    ['Mon  02:00-04:00 UTC', 'two spaces'],
    ['', 'nothing'],
  ] as const) {
    test(`refuses ${JSON.stringify(text)}: ${why}`, () => {
      assert.equal(parseWindow(text), undefined);
    });
  }
});
