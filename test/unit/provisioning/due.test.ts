import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { Instant } from '../../../agent/uptane/time.ts';
import { isRenewalDue, isTooOld, mayTryAgain, renewalDueAt } from '../../../provisioning/due.ts';

const DAY_MS = 24 * 3_600_000;
const at = (day: number): Instant => (day * DAY_MS) as Instant;
const BEGIN = 20_000;
const YEAR = { validFrom: at(BEGIN), validTo: at(BEGIN + 365) };

/** Day of a year's certificate. */
const day = (offset: number): Instant => at(BEGIN + offset);

describe('renewal', () => {
  test('is due at the share of the life that is configured, a little apart for every device', () => {
    const days = Array.from({ length: 500 }, (_, index) => {
      const dueAt = renewalDueAt(YEAR, 0.66, `device-${String(index)}`);
      return (dueAt - YEAR.validFrom) / (365 * DAY_MS);
    });
    assert.ok(Math.min(...days) >= 0.61 && Math.min(...days) < 0.63);
    assert.ok(Math.max(...days) <= 0.71 && Math.max(...days) > 0.69);
    assert.ok(new Set(days).size > 490);
  });

  test('is due for one device at the same instant every time', () => {
    assert.equal(renewalDueAt(YEAR, 0.66, 'device-1'), renewalDueAt(YEAR, 0.66, 'device-1'));
  });

  /** Cycles once a day by a clock that is `ahead` by days, from a new certificate on. */
  const daysOfRenewal = (days: number, ahead: (day: number) => number): number[] => {
    const renewed: number[] = [];
    let life = YEAR;
    let storedAt: Instant | undefined;
    for (let today = 0; today < days; today += 1) {
      const now = day(today + ahead(today));
      const dueAt = renewalDueAt(life, 0.66, 'device-1');
      assert.ok(day(today) < life.validTo, `it ran out on day ${String(today)}`);
      if (!isRenewalDue(life, dueAt, now, storedAt)) continue;
      renewed.push(today);
      life = { validFrom: day(today), validTo: day(today + 365) };
      storedAt = now;
    }
    return renewed;
  };

  test('comes three times in two years where the clock is right', () => {
    const days = daysOfRenewal(730, () => 0);
    assert.ok(days.length === 2 || days.length === 3, String(days));
  });

  test('is no loop where the clock is ahead, and never late', () => {
    for (const ahead of [100, 300, 27_000]) {
      const days = daysOfRenewal(730, () => ahead);
      assert.ok(days.length <= 13, `${String(ahead)}: ${String(days)}`);
    }
  });

  test('is in time when a clock that was ahead is set right', () => {
    for (const ahead of [10, 200, 240, 300, 27_000]) {
      for (const mended of [1, 5, 100]) {
        const days = daysOfRenewal(730, (today) => (today < mended ? ahead : 0));
        assert.ok(days.length <= 4, `${String(ahead)}: ${String(days)}`);
      }
    }
  });

  test('does not come from a clock that jumps to and fro every day', () => {
    const days = daysOfRenewal(365, (today) => (today % 2 === 0 ? 27_000 : 0));
    assert.ok(days.length <= 7, String(days));
  });
});

describe('a failed try', () => {
  test('is not repeated at every poll, but within a day', () => {
    const life = 365 * DAY_MS;
    assert.ok(mayTryAgain(life, day(0), undefined));
    assert.ok(!mayTryAgain(life, (day(0) + 3_600_000) as Instant, day(0)));
    assert.ok(mayTryAgain(life, day(1), day(0)));
  });

  test('of a short life is repeated sooner', () => {
    assert.ok(mayTryAgain(DAY_MS, (day(0) + DAY_MS / 100) as Instant, day(0)));
  });

  test('is repeated after the clock was set, in either direction', () => {
    assert.ok(mayTryAgain(365 * DAY_MS, day(0), day(27_000)));
  });
});

test('a key is too old only where an age is set', () => {
  assert.ok(!isTooOld(undefined, day(27_000), day(0)));
  assert.ok(!isTooOld(30 * DAY_MS, day(29), day(0)));
  assert.ok(isTooOld(30 * DAY_MS, day(30), day(0)));
});
