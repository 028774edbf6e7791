import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { openClock } from '../../../agent/io/clock.ts';
import { parseHttpDate } from '../../../agent/io/http-date.ts';
import type { Instant } from '../../../agent/uptane/time.ts';

const DAY = 86_400_000;
const KNOWN = (20_000 * DAY) as Instant;
const TRUE = (20_010 * DAY) as Instant;
const Y2100 = Date.UTC(2100, 0, 1);

/** Clocks that a test turns by hand. */
function board(wallMs: number): { wallMs: number; monotonicMs: number } {
  return { wallMs, monotonicMs: 5000 };
}
function open(hands: ReturnType<typeof board>): ReturnType<typeof openClock> {
  return openClock(KNOWN, { wallMs: () => hands.wallMs, monotonicMs: () => hands.monotonicMs });
}

describe('the clock (§5.4.2.2)', () => {
  test('of a board without battery starts at the latest known time', () => {
    assert.equal(open(board(0)).now(), KNOWN);
    assert.equal(open(board(TRUE)).now(), TRUE);
  });

  test('counts on from a signed time by the monotonic clock, however the other one jumps', () => {
    const hands = board(Y2100);
    const clock = open(hands);
    clock.attest(TRUE);
    assert.equal(clock.now(), TRUE);
    hands.monotonicMs += 1500.7;
    for (const wallMs of [0, Y2100]) {
      hands.wallMs = wallMs;
      assert.equal(clock.now(), TRUE + 1500);
    }
  });

  test('takes the last signed time, also an earlier one, but none before the floor', () => {
    const clock = open(board(0));
    clock.attest(Y2100 as Instant);
    clock.attest(TRUE);
    assert.equal(clock.now(), TRUE);
    clock.raiseFloor((TRUE + DAY) as Instant);
    clock.raiseFloor(KNOWN);
    assert.equal(clock.now(), TRUE + DAY);
  });

  test('is moved on by a Date, until the next answer says otherwise', () => {
    const hands = board(0);
    const clock = open(hands);
    clock.noteHttpDate(Y2100 as Instant);
    assert.equal(clock.now(), Y2100);
    clock.noteHttpDate(TRUE);
    hands.monotonicMs += 2000;
    assert.equal(clock.now(), TRUE + 2000);
  });
});

describe('a Date header', () => {
  test('is read in its one form (RFC 9110 §5.6.7)', () => {
    const at = Date.UTC(1994, 10, 6, 8, 49, 37);
    assert.equal(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT'), at);
  });

  for (const header of [
    undefined,
    ['Sun, 06 Nov 1994 08:49:37 GMT', 'twice'],
    '',
    '1994-11-06T08:49:37Z',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
    'Sun, 06 Nov 1994 08:49:37 +0100',
    'Sun, 99 Xyz 1994 08:49:37 GMT',
    '784111777',
  ]) {
    test(`says nothing as ${String(header)}`, () => {
      assert.equal(parseHttpDate(header), undefined);
    });
  }
});
