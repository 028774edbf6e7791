/** The loop of the daemon: when it polls next, and whether a watchdog may believe that it lives. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { Daemon } from '../../agent/cycle/daemon.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { TestDevice } from '../support/cycle-device.ts';
import { NOW } from '../support/uptane-world.ts';

const HOUR_MS = 3_600_000;
const STUCK_MS = 10 * 60_000;

let device: TestDevice;
let stop: AbortController;
/** The monotonic clock. */
let uptimeMs: number;

beforeEach(() => {
  device = new TestDevice();
  stop = new AbortController();
  uptimeMs = 5000;
});

afterEach(async () => {
  stop.abort();
  await device.close();
});

/** @returns the daemon, after its first cycle, with the cycle's status, and the end of its loop */
async function polled(): Promise<{ daemon: Daemon; status: string; ended: Promise<void> }> {
  const ports = await device.ports();
  const clock = { ...ports.clock, monotonicMs: () => uptimeMs };
  const progressed = Promise.withResolvers<string>();
  const options = { pollIntervalMs: HOUR_MS, progressed: progressed.resolve };
  const daemon = new Daemon({ ...ports, clock }, options);
  const ended = daemon.run(stop.signal);
  const status = await progressed.promise;
  await Promise.resolve();
  return { daemon, status, ended };
}

test('a clock that is set while it waits makes no watchdog bark, and moves the next poll with it', async () => {
  device.world.release('fw-1');
  const { daemon, status, ended } = await polled();
  assert.equal(status, 'reboot-required');
  assert.equal(daemon.nextPollAt, NOW + HOUR_MS);

  const YEARS_MS = 20 * 365 * 24 * HOUR_MS;
  device.outside.wallMs = NOW + YEARS_MS;

  assert.equal(daemon.isAlive(), true);
  assert.equal(daemon.nextPollAt, (NOW + YEARS_MS + HOUR_MS) as Instant);
  stop.abort();
  await ended;
});

test('a poll that is overdue by more than any cycle may take is a loop that hangs', async () => {
  const { daemon, ended } = await polled();
  uptimeMs += HOUR_MS + STUCK_MS - 1;
  assert.equal(daemon.isAlive(), true);
  uptimeMs += 1;
  assert.equal(daemon.isAlive(), false);
  stop.abort();
  await ended;
});

test('a gateway that cannot be reached is asked again after 15 s, not after the interval', async () => {
  device.outside.gateway = 'down';
  const { daemon, status, ended } = await polled();
  assert.equal(status, 'GATEWAY_UNREACHABLE');
  assert.equal(daemon.nextPollAt, NOW + 15_000);
  stop.abort();
  await ended;
});

test('a gateway that asks to be left alone is, and a report that it had no time for is no refused one', async () => {
  for (const status of [429, 503]) {
    device.outside.gateway = { answers: status, retryAfterSeconds: 1200 };
    const { daemon, status: said, ended } = await polled();
    assert.equal(said, 'GATEWAY_ANSWER');
    assert.equal(daemon.nextPollAt, NOW + 1.05 * 1_200_000);
    stop.abort();
    await ended;
    stop = new AbortController();
  }
});

test('goes on with the wait of the process before it, and its failures', async () => {
  device.outside.gateway = 'down';
  const ports = await device.ports();
  const progressed = Promise.withResolvers<string>();
  const daemon = new Daemon(ports, { pollIntervalMs: HOUR_MS, progressed: progressed.resolve });
  const ended = daemon.run(stop.signal, { leftMs: HOUR_MS, failures: 2, heldMs: undefined });
  const { leftMs = 0, failures } = daemon.wait ?? {};
  assert.ok(leftMs > HOUR_MS - 60_000 && leftMs <= HOUR_MS, String(leftMs));
  assert.equal(failures, 2);
  daemon.wake();
  assert.equal(await progressed.promise, 'GATEWAY_UNREACHABLE');
  await Promise.resolve();
  assert.equal(daemon.wait?.failures, 3);
  stop.abort();
  await ended;
});

test('a wait that is over when its process begins is a poll at once', async () => {
  device.world.release('fw-1');
  const progressed = Promise.withResolvers<string>();
  const options = { pollIntervalMs: HOUR_MS, progressed: progressed.resolve };
  const daemon = new Daemon(await device.ports(), options);
  const ended = daemon.run(stop.signal, { leftMs: -5, failures: 0, heldMs: undefined });
  assert.equal(await progressed.promise, 'reboot-required');
  stop.abort();
  await ended;
});
