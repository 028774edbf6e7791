/** Updates that wait: for a window, for what inhibits them, for a person; and those that may not for ever. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { abortByHand, approveByHand, pauseByHand } from '../../agent/cycle/by-hand.ts';
import type { Outcome } from '../../agent/cycle/cycle.ts';
import { Daemon } from '../../agent/cycle/daemon.ts';
import { heldUpdate, type Held } from '../../agent/cycle/hold.ts';
import { outcomeResult } from '../../agent/commands/result.ts';
import { openGate } from '../../agent/io/gate.ts';
import { settingsSchema } from '../../agent/settings.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { bytes, TestDevice } from '../support/cycle-device.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { NOW } from '../support/uptane-world.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let device: TestDevice;
beforeEach(() => {
  device = new TestDevice();
  device.world.director.custom = { correlationId: 'urn:here-ota:mtu:1' };
  device.world.release('fw-1');
});
afterEach(() => device.close());

/** What the `update` table of a configuration makes of it. */
const gateOf = (update: Record<string, unknown>): ReturnType<typeof openGate> =>
  openGate(settingsSchema.parse({ update }).update);

async function cycle(update: Record<string, unknown>): Promise<Outcome> {
  return device.cycle(gateOf(update));
}

async function held(update: Record<string, unknown>): Promise<Held> {
  const outcome = await cycle(update);
  assert.ok(outcome.outcome === 'held', outcome.outcome);
  return outcome.held;
}

const stateOf = async (): Promise<string> => {
  const text = (await (await device.ports()).store.loadState()) ?? '{"at":"idle"}';
  return (JSON.parse(text) as { at: string }).at;
};
/** A program that ends as the file beside it says. */
function inhibitor(): {
  readonly command: readonly string[];
  set(code: number, says: string): void;
} {
  const path = join(device.directory.path, 'on-battery');
  const answer = `${path}.answer`;
  writeFileSync(path, `#!/bin/sh\nread code says < ${answer}\necho "$says"\nexit "$code"\n`);
  chmodSync(path, 0o755);
  return {
    command: [path],
    set: (code, says) => {
      writeFileSync(answer, `${String(code)} ${says}\n`);
    },
  };
}

// NOW is a Saturday, 00:00 UTC.
const WINDOW = ['Mon..Fri 02:00-04:00 Europe/Berlin'];
const MONDAY_NIGHT = (NOW + 2 * DAY_MS + HOUR_MS) as Instant;

describe('a window', () => {
  test('holds an update that is downloaded; it survives a restart, and is installed when it opens', async () => {
    let opened = 0;
    device.outside.image = (offset, { filename }) => {
      opened += 1;
      return bytes(filename.slice(offset));
    };
    const waiting = await held({ windows: WINDOW });
    assert.deepEqual(waiting.reasons, [
      { by: 'window', says: 'outside of the windows to install', until: MONDAY_NIGHT },
    ]);
    assert.deepEqual([waiting.step, waiting.until, waiting.since], ['install', MONDAY_NIGHT, NOW]);
    assert.equal(await stateOf(), 'holding');
    assert.deepEqual(await heldUpdate(await device.ports()), waiting);

    device.outside.wallMs = MONDAY_NIGHT - 1000;
    assert.equal((await cycle({ windows: WINDOW })).outcome, 'held');
    device.outside.wallMs = MONDAY_NIGHT;
    assert.equal((await cycle({ windows: WINDOW })).outcome, 'reboot-required');
    assert.equal(opened, 1, 'what is there is not downloaded again');
  });

  test('to download holds it before its first byte', async () => {
    device.outside.image = () => assert.fail('nothing is downloaded');
    const { step, reasons } = await held({ download_windows: WINDOW });
    assert.deepEqual([step, reasons.map(({ by }) => by)], ['download', ['window']]);
  });

  test('that is removed from the configuration holds nothing', async () => {
    await held({ windows: WINDOW });
    assert.equal((await cycle({})).outcome, 'reboot-required');
  });

  test('an update that the Director takes back waits no more, and is forgotten', async () => {
    await held({ windows: WINDOW });
    device.world.director.targets = {};
    device.world.publish();
    assert.equal((await cycle({ windows: WINDOW })).outcome, 'up-to-date');
    assert.equal(await stateOf(), 'idle');
    assert.equal(await heldUpdate(await device.ports()), undefined);
  });

  test('another update takes the place of the one that waits, with a name of its own', async () => {
    const first = await held({ windows: WINDOW });
    device.world.release('fw-2');
    const second = await held({ windows: WINDOW });
    assert.notEqual(first.update, second.update);
  });

  test('what waits can be aborted, and the Director is told; it cannot be paused', async () => {
    await held({ windows: WINDOW });
    const details = {
      what: 'no download to pause (the cycle is at holding)',
      remedy: 'see ota-agent status; what was written already is for ota-agent rollback',
    };
    await rejectsCode(pauseByHand(await device.ports()), 'USAGE', details);
    assert.equal((await abortByHand(await device.ports())).outcome, 'aborted');
    await cycle({ windows: WINDOW });
    assert.ok(device.outside.manifests.some((manifest) => manifest.includes('UPDATE_ABORTED')));
  });

  test('is told as exit 12, with why and until when', async () => {
    const { exit, json, lines } = outcomeResult(await cycle({ windows: WINDOW }));
    assert.equal(exit, 12);
    const { outcome, waiting } = json as { outcome: string; waiting: { until: string } };
    assert.deepEqual([outcome, waiting.until], ['deferred', '2026-11-23T01:00:00Z']);
    assert.match(
      lines.join('\n'),
      /outside of the windows to install\nuntil 2026-11-23T01:00:00Z/u,
    );
  });
});

describe('an inhibitor', () => {
  test('holds an installation with the words that it says, and lets it go on', async () => {
    const battery = inhibitor();
    battery.set(1, 'battery at 12 %');
    const { reasons, until } = await held({ inhibitors: [battery.command] });
    assert.deepEqual(reasons, [{ by: 'inhibitor', says: 'on-battery: battery at 12 %' }]);
    assert.equal(until, undefined);
    battery.set(0, '');
    assert.equal((await cycle({ inhibitors: [battery.command] })).outcome, 'reboot-required');
  });

  test('of downloads is not asked about an installation, nor the other way round', async () => {
    const marks = ['download', 'install'].map((step) => join(device.directory.path, step));
    const [atDownload = '', atInstall = ''] = marks;
    const count = (path: string): readonly string[] => ['sh', '-c', `echo x >> ${path}`];
    const update = { download_inhibitors: [count(atDownload)], inhibitors: [count(atInstall)] };
    assert.equal((await cycle(update)).outcome, 'reboot-required');
    for (const path of marks) assert.equal(readFileSync(path, 'utf8'), 'x\n');
  });

  for (const [what, command, says] of [
    ['is not there', ['/nowhere/inhibitor'], /inhibitor: \/nowhere\/inhibitor cannot be run/u],
    ['does not end', ['sleep', '60'], /sleep: sleep did not end within 0.2 s/u],
    ['is killed', ['sh', '-c', 'kill -9 $$'], /sh: sh was ended by SIGKILL/u],
  ] as const) {
    test(`that ${what} holds the update: it was put there to be sure`, async () => {
      const { reasons } = await held({ inhibitors: [command], inhibitor_timeout: '200ms' });
      assert.match(reasons[0]?.says ?? '', says);
    });
  }

  test('that ends is noticed by the daemon between two polls, without the network', async () => {
    const battery = inhibitor();
    battery.set(1, 'low');
    const statuses: string[] = [];
    const installed = Promise.withResolvers<undefined>();
    const stop = new AbortController();
    const ports = { ...(await device.ports()), ...gateOf({ inhibitors: [battery.command] }) };
    const daemon = new Daemon(ports, {
      pollIntervalMs: HOUR_MS,
      gateMs: 20,
      progressed: (status) => {
        statuses.push(status);
        if (status === 'deferred') battery.set(0, '');
        if (status === 'reboot-required') installed.resolve(undefined);
      },
    });
    const ended = daemon.run(stop.signal);
    await installed.promise;
    stop.abort();
    await ended;
    assert.deepEqual(statuses, ['deferred', 'reboot-required']);
  });
});

describe('consent', () => {
  const always = { consent: 'always' };

  test('is asked for, given for that update, kept over a restart, and then it is installed', async () => {
    const { update, reasons, isApproved } = await held(always);
    assert.deepEqual([reasons.map(({ by }) => by), isApproved], [['consent'], false]);
    const ports = { ...(await device.ports()), ...gateOf(always) };
    assert.equal((await approveByHand(update, ports)).outcome, 'approved');
    assert.equal((await heldUpdate(await device.ports()))?.isApproved, true);
    assert.equal((await cycle(always)).outcome, 'reboot-required');
  });

  test('for one update is none for the next, nor for one that took its place', async () => {
    const { update } = await held(always);
    device.world.release('fw-2');
    const { update: next } = await held(always);
    const details = {
      what: `the update that waits is ${next}, and not ${update}`,
      remedy: 'see ota-agent status',
    };
    await rejectsCode(approveByHand(update, await device.ports()), 'USAGE', details);
    assert.equal((await cycle(always)).outcome, 'held');
  });

  test('cannot be given where nothing waits', async () => {
    const details = {
      what: 'no update waits (the cycle is at idle)',
      remedy: 'see ota-agent status',
    };
    await rejectsCode(approveByHand('abc', await device.ports()), 'USAGE', details);
  });

  test('for listed images is needed for these alone', async () => {
    const listed = { consent: 'listed', consent_for: ['firmware-*'] };
    assert.equal((await cycle(listed)).outcome, 'reboot-required');
    device.boot();
    assert.equal((await cycle(listed)).outcome, 'installed');
    device.world.release('firmware-2');
    assert.equal((await cycle(listed)).outcome, 'held');
  });

  test('does not open a window that is closed', async () => {
    const both = { ...always, windows: WINDOW };
    const { update, reasons } = await held(both);
    assert.deepEqual(
      reasons.map(({ by }) => by),
      ['window', 'consent'],
    );
    await approveByHand(update, await device.ports());
    const { reasons: left } = await held(both);
    assert.deepEqual(
      left.map(({ by }) => by),
      ['window'],
    );
  });
});

describe('a critical update (custom.critical of the Director)', () => {
  const patient = { consent: 'always', critical_after: '3d' };
  const makeCritical = (): void => {
    const target = device.world.director.targets['fw-1'] as { custom: Record<string, unknown> };
    target.custom['critical'] = true;
    device.world.publish();
  };

  test('goes through at its deadline, counted from when it was first seen, over restarts', async () => {
    makeCritical();
    const { deadline, until } = await held(patient);
    assert.deepEqual([deadline, until], [NOW + 3 * DAY_MS, NOW + 3 * DAY_MS]);
    device.outside.wallMs = NOW + 3 * DAY_MS - 1000;
    assert.equal((await cycle(patient)).outcome, 'held');
    device.outside.wallMs = NOW + 3 * DAY_MS;
    assert.equal((await cycle(patient)).outcome, 'reboot-required');
  });

  test('one that is not waits on', async () => {
    assert.equal((await held(patient)).deadline, undefined);
    device.outside.wallMs = NOW + 6 * DAY_MS;
    assert.equal((await cycle(patient)).outcome, 'held');
  });

  test('first seen by a clock that was ahead counts from now', async () => {
    makeCritical();
    const ports = { ...(await device.ports()), ...gateOf(patient) };
    await held(patient);
    const text = (await ports.store.waiting()) ?? assert.fail();
    await ports.store.saveWaiting(text.replace('2026-11-21T', '2027-06-21T'));
    assert.equal((await held(patient)).since, NOW);
  });
});

test('without a gate nothing is remembered and nothing waits', async () => {
  assert.deepEqual(gateOf({}), {});
  assert.equal((await cycle({})).outcome, 'reboot-required');
  assert.equal(await (await device.ports()).store.waiting(), undefined);
});
