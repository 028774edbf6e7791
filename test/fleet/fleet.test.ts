/** A small fleet from its registration to the end of a rollout, through an outage of its servers. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { demandGone, descendantsOf } from '../support/processes.ts';
import { temporaryDirectory } from '../support/temporary.ts';

import { parseArguments, UsageError, type Arguments } from './arguments.ts';
import { isBadFor, memberAt } from './population.ts';
import { runFleet } from './run.ts';
import { Tally } from './tally.ts';

function options(...args: readonly string[]): Arguments {
  const parsed = parseArguments(args);
  assert.ok(parsed !== 'help');
  return parsed;
}

describe('a simulated fleet', () => {
  test('completes a rollout through an outage; what fails on one board fails there and nowhere else', async () => {
    const given = options(
      ...['--devices', '32', '--workers', '1', '--token-devices', '2', '--compress', '300'],
      ...['--interval', '10', '--rollout-at', '4', '--phases', '50,100', '--soak', '0'],
      ...['--outage-at', '3', '--outage', '3', '--after', '0', '--max', '2000'],
      ...['--fail', '0', '--fail-on', 'board-c=100', '--health', '3'],
    );
    const members = Array.from({ length: given.devices }, (_, at) => memberAt(at, given));
    const bad = members.filter(({ hardwareId }) => hardwareId === 'board-c');
    assert.ok(bad.length > 0 && bad.every((member) => isBadFor(member, 'any', given)));

    const lines: string[] = [];
    const summary = await runFleet(given, (line) => lines.push(line));

    const good = given.devices - bad.length;
    assert.deepEqual(summary.rollout, { state: 'finished', succeeded: good, failed: bad.length });
    assert.deepEqual(summary.images, { 'fleet-2.bin': good, factory: bad.length });
    assert.ok(summary.polls >= given.devices);
    const { outage } = summary;
    assert.ok(outage !== undefined && outage.minutes >= given.outageMinutes);
    assert.ok(outage.refused > 0, 'nobody noticed the outage');
    const minutes = lines.filter((line) => /^ +\d+( +\d+){8}/u.test(line));
    assert.ok(minutes.length > 10, 'a line for each minute');
    assert.equal(summary.failures['ROLLED_BACK'], bad.length);
  });
});

describe('a fleet that is interrupted', () => {
  test('by Ctrl-C ends with all its processes, and leaves no file', async (t) => {
    const directory = temporaryDirectory('fleet-interrupted');
    t.after(() => {
      directory.remove();
    });
    const args = ['--devices', '4', '--workers', '1', '--token-devices', '1', '--outage', '0'];
    const fleet = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, TMPDIR: directory.path },
    });
    const exited = once(fleet, 'exit');
    let said = '';
    fleet.stdout.on('data', (text: Buffer) => (said += text.toString()));
    while (!said.includes('identities')) await once(fleet.stdout, 'data');
    const started = descendantsOf(fleet.pid ?? 0);
    assert.ok(started.length >= 3, 'a worker, a server and a secure world');
    assert.notDeepEqual(readdirSync(directory.path), []);
    // As a terminal sends it: to all that are in its group.
    process.kill(-(fleet.pid ?? 0), 'SIGINT');
    assert.deepEqual(await exited, [130, null]);
    await demandGone(started);
    assert.deepEqual(readdirSync(directory.path), []);
  });
});

describe('the figures of a fleet', () => {
  const poll = { durationMs: 10, outcome: 'up-to-date', asked: true };

  test('count a poll in the minute in which it began, and what reached nobody as refused', () => {
    const tally = new Tally();
    tally.add([
      { ...poll, atMs: 59_999 },
      { ...poll, atMs: 60_000, outcome: 'installed' },
      { ...poll, atMs: 61_000, outcome: 'GATEWAY_UNREACHABLE' },
      { ...poll, atMs: 62_000, outcome: 'GATEWAY_TIMEOUT' },
      { ...poll, atMs: 63_000, outcome: 'unconfirmed', asked: false },
    ]);
    const { polls, refused, updates, failures } = tally.minute(1);
    assert.deepEqual([polls, refused, updates], [2, 1, 1]);
    assert.deepEqual(failures, { GATEWAY_TIMEOUT: 1 });
    assert.equal(tally.between(0, 2).polls, 3);
    assert.deepEqual(tally.peak(0, 2, 1), { minute: 1, perMinute: 2 });
    assert.deepEqual(tally.peak(0, 2, 2), { minute: 0, perMinute: 1.5 });
  });

  test('have quantiles of what was answered alone', () => {
    const tally = new Tally();
    const answered = Array.from({ length: 100 }, (_, at) => ({ ...poll, atMs: 0, durationMs: at }));
    tally.add([
      ...answered,
      { ...poll, atMs: 0, durationMs: 9999, outcome: 'GATEWAY_UNREACHABLE' },
    ]);
    assert.deepEqual(tally.minute(0).latencies, { p50: 50, p95: 95, p99: 99 });
  });
});

describe('the command line of the fleet', () => {
  const refuses = (args: readonly string[], said: RegExp): void => {
    assert.throws(
      () => parseArguments(args),
      (error) => error instanceof UsageError && said.test(error.message),
    );
  };

  test('names what is wrong', () => {
    refuses(['--devices', '0'], /--devices is a whole number from 1/u);
    refuses(['--devices', ''], /--devices/u);
    refuses(['--compress', '0'], /--compress must be more than 0/u);
    refuses(['--servers', '2', '--database', 'sqlite'], /postgres/u);
    refuses(['--database', 'oracle'], /sqlite or postgres/u);
    refuses(['--fail-on', 'board-a'], /--fail-on board-a/u);
    refuses(['--fail-on', 'board-x=5'], /board-a, board-b, board-c/u);
    refuses(['--phases', '10,200'], /--phases/u);
    refuses(['--device', '1'], /--device/u);
  });
});
