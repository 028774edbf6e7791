import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { waitMs } from '../../../agent/cycle/schedule.ts';
import { Random } from '../../fuzz/random.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const MIDDLE = 0.5;

describe('the wait for the next poll', () => {
  test('is the interval, give or take a tenth, after a cycle that went well', () => {
    const waits = [0, MIDDLE, 1].map((random) => waitMs(HOUR_MS, { failures: 0 }, random));
    assert.deepEqual(waits, [0.9 * HOUR_MS, HOUR_MS, 1.1 * HOUR_MS]);
  });

  test('is 15 s after one failure, then a sixth of the interval, four times that, the interval', () => {
    const waits = [1, 2, 3, 4, 40].map((failures) => waitMs(HOUR_MS, { failures }, MIDDLE));
    const minutes = waits.map((ms) => ms / MINUTE_MS);
    assert.deepEqual(minutes, [0.25, 10, 40, 60, 60]);
  });

  test('is never longer than a short interval because of failures', () => {
    const waits = [1, 2, 3].map((failures) => waitMs(10_000, { failures }, MIDDLE));
    assert.deepEqual(waits, [10_000, 10_000, 10_000]);
  });

  test('is not shorter than Retry-After, and not longer than a day because of it', () => {
    const hour = waitMs(HOUR_MS, { failures: 1, retryAfterMs: 2 * HOUR_MS }, 0);
    assert.equal(hour, 2 * HOUR_MS);
    const spread = waitMs(HOUR_MS, { failures: 1, retryAfterMs: 2 * HOUR_MS }, 1);
    assert.equal(spread, 2.2 * HOUR_MS);
    const ever = waitMs(HOUR_MS, { failures: 1, retryAfterMs: 1e12 }, 0);
    assert.equal(ever, 24 * HOUR_MS);
    const soon = waitMs(HOUR_MS, { failures: 2, retryAfterMs: 2000 }, MIDDLE);
    assert.equal(soon, 10 * MINUTE_MS);
  });

  test('is never zero, whatever came before', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1000, max: 24 * 24 * HOUR_MS }),
        fc.nat(1000),
        fc.nat(),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (intervalMs, failures, retryAfterMs, random) => {
          const ms = waitMs(intervalMs, { failures, retryAfterMs }, random);
          assert.ok(ms >= Math.min(intervalMs, 15_000) / 2 && Number.isFinite(ms));
        },
      ),
    );
  });
});

describe('a gateway that was away', () => {
  for (const minutes of [1, 10, 30, 50, 60, 240]) {
    test(`for ${String(minutes)} minutes is then asked at most three times as often as before`, () => {
      const ratio = peakAfter(minutes * MINUTE_MS);
      assert.ok(ratio <= 3, `${ratio.toFixed(2)} times`);
    });
  }
});

const DEVICES = 20_000;
const STEADY_PER_MINUTE = DEVICES / 60;
const BEGINS_MS = 2 * HOUR_MS;

/** The busiest minute of a fleet that polls every hour, once the gateway is back. */
function peakAfter(outageMs: number): number {
  const source = new Random(1);
  const random = (): number => source.u32() / 2 ** 32;
  const backMs = BEGINS_MS + outageMs;
  const minutes = new Array<number>(180).fill(0);
  for (let device = 0; device < DEVICES; device += 1) {
    let failures = 0;
    for (let atMs = random() * HOUR_MS; atMs < backMs + minutes.length * MINUTE_MS;) {
      const isAway = atMs >= BEGINS_MS && atMs < backMs;
      failures = isAway ? failures + 1 : 0;
      const minute = Math.floor((atMs - backMs) / MINUTE_MS);
      if (minute >= 0) minutes[minute] = (minutes[minute] ?? 0) + 1;
      atMs += waitMs(HOUR_MS, { failures }, random());
    }
  }
  return Math.max(...minutes) / STEADY_PER_MINUTE;
}
