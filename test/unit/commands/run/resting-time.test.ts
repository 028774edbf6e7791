/** The time between two workers of the daemon. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';

import { RestingTime } from '../../../../agent/commands/run/resting-time.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

let uptimeMs: number;
/** By how much the clock of the wall was set. */
let setByMs: number;

beforeEach(() => {
  uptimeMs = 5000;
  setByMs = 0;
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(performance, 'now', () => uptimeMs);
  mock.method(Date, 'now', () => 1_700_000_000_000 + uptimeMs + setByMs);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

function pass(ms: number): void {
  uptimeMs += ms;
  mock.timers.tick(ms);
}

async function isOver({ over }: RestingTime): Promise<boolean> {
  let isIt = false;
  void over.then(() => (isIt = true));
  await setImmediate();
  return isIt;
}

test('ends when the poll is due, and tells the next worker what is left of it before', async () => {
  const time = new RestingTime({ leftMs: HOUR_MS, failures: 2, heldMs: undefined });
  pass(HOUR_MS - 1);
  assert.equal(await isOver(time), false);
  assert.deepEqual(time.left, { leftMs: 1, failures: 2, heldMs: undefined });
  pass(1);
  assert.equal(await isOver(time), true);
});

test('ends when what holds an update back may have ended, if that is sooner', async () => {
  const time = new RestingTime({ leftMs: HOUR_MS, failures: 0, heldMs: 10 * MINUTE_MS });
  for (let minute = 0; minute < 10; minute += 1) {
    assert.equal(await isOver(time), false);
    pass(MINUTE_MS);
  }
  assert.equal(await isOver(time), true);
});

test('notices within a minute that the clock was set, where an update waits for a time of day', async () => {
  const held = new RestingTime({ leftMs: HOUR_MS, failures: 0, heldMs: Infinity });
  const idle = new RestingTime({ leftMs: HOUR_MS, failures: 0, heldMs: undefined });
  pass(MINUTE_MS);
  assert.equal(await isOver(held), false);
  setByMs = -8 * HOUR_MS;
  pass(MINUTE_MS);
  assert.equal(await isOver(held), true);
  assert.equal(await isOver(idle), false, 'a poll is not due by the clock of the wall');
  idle.end();
});

test('waits longer than a timer of Node.js can count', async () => {
  const DAYS = 40;
  const time = new RestingTime({ leftMs: DAYS * 24 * HOUR_MS, failures: 0, heldMs: undefined });
  for (let day = 0; day < DAYS; day += 1) {
    assert.equal(await isOver(time), false);
    pass(24 * HOUR_MS);
  }
  assert.equal(await isOver(time), true);
});

test('ends before its time when somebody asks', async () => {
  const time = new RestingTime({ leftMs: HOUR_MS, failures: 0, heldMs: undefined });
  time.end();
  assert.equal(await isOver(time), true);
});
