/** The notifier against a datagram socket that answers as systemd's does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openServiceNotifier } from '../../agent/io/systemd.ts';
import { rejectsCode } from '../support/expect-code.ts';
import { listenToNotifications as listen, type Listener } from '../support/notify-listener.ts';

const environment = (listener: Listener, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  NOTIFY_SOCKET: listener.address,
  ...more,
});

const timeout = 30_000;

test(
  'says ready, status and stopping, each as one message (sd_notify(3))',
  { timeout },
  async (t) => {
    const systemd = await listen(t);
    const service = openServiceNotifier(environment(systemd));
    await service.ready();
    assert.equal(await systemd.next(), 'READY=1');
    service.status('downloading 10 % of "a=b"');
    assert.equal(await systemd.next(), 'STATUS=downloading 10 % of "a=b"');
    service.status('--help');
    await service.stopping();
    assert.equal(await systemd.next(), 'STATUS=--help');
    assert.equal(await systemd.next(), 'STOPPING=1');
  },
);

test('reaches a socket in the abstract namespace', { timeout }, async (t) => {
  const systemd = await listen(t, `@ota-agent-test-${String(process.pid)}`);
  await openServiceNotifier(environment(systemd)).ready();
  assert.equal(await systemd.next(), 'READY=1');
});

test(
  'a line end in a status cannot smuggle another variable to systemd',
  { timeout },
  async (t) => {
    const systemd = await listen(t);
    const service = openServiceNotifier(environment(systemd));
    service.status('image\nMAINPID=1\r\n\u0000\u0085x');
    await service.stopping();
    assert.equal(await systemd.next(), 'STATUS=image MAINPID=1 x');
  },
);

test(
  'of statuses that come faster than they are sent, the last one arrives',
  { timeout },
  async (t) => {
    const systemd = await listen(t);
    const service = openServiceNotifier(environment(systemd));
    const ready = service.ready();
    for (let percent = 0; percent <= 100; percent += 1) service.status(`${String(percent)} %`);
    await ready;
    await service.stopping();
    const messages = [await systemd.next(), await systemd.next(), await systemd.next()];
    assert.deepEqual(messages, ['READY=1', 'STATUS=100 %', 'STOPPING=1']);
  },
);

test(
  'pings at half the watchdog interval, and only while there is progress',
  { timeout },
  async (t) => {
    const systemd = await listen(t);
    const service = openServiceNotifier(environment(systemd, { WATCHDOG_USEC: '40000' }));
    let isAlive = true;
    let deadChecks = 0;
    const stalled = Promise.withResolvers<undefined>();
    service.startWatchdog(() => {
      if (!isAlive && (deadChecks += 1) === 3) stalled.resolve(undefined);
      return isAlive;
    });
    // Only the interval refers to the timer, and that is not to keep a stopped daemon running.
    const keepRunning = setInterval(() => undefined, 1000);
    t.after(() => {
      clearInterval(keepRunning);
    });
    assert.equal(await systemd.next(), 'WATCHDOG=1');
    assert.equal(await systemd.next(), 'WATCHDOG=1');
    isAlive = false;
    await stalled.promise;
    service.status('stalled');
    const rest = [await systemd.next()];
    // One ping may have been on its way when progress stopped.
    if (rest[0] === 'WATCHDOG=1') rest[0] = await systemd.next();
    assert.deepEqual(rest, ['STATUS=stalled']);
    isAlive = true;
    assert.equal(await systemd.next(), 'WATCHDOG=1');
    await service.stopping();
  },
);

test('leaves the watchdog of another process alone (sd_watchdog_enabled(3))', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const checksWith = (env: NodeJS.ProcessEnv): number => {
    const isAlive = t.mock.fn(() => false);
    openServiceNotifier({ NOTIFY_SOCKET: '/nonexistent', ...env }).startWatchdog(isAlive);
    t.mock.timers.tick(10_000);
    return isAlive.mock.callCount();
  };
  const own = { WATCHDOG_USEC: '10000000', WATCHDOG_PID: String(process.pid) };
  assert.equal(checksWith(own), 2);
  assert.equal(checksWith({ ...own, WATCHDOG_PID: '1' }), 0);
  assert.equal(checksWith({}), 0);
});

test('takes the notification variables away from programs that are started later', () => {
  const env = { NOTIFY_SOCKET: '/s', WATCHDOG_USEC: '1', WATCHDOG_PID: '1', PATH: '/usr/bin' };
  openServiceNotifier(env);
  assert.deepEqual(env, { PATH: '/usr/bin' });
});

test('is silent where there is no service manager', async () => {
  const service = openServiceNotifier({ PATH: '/nonexistent', WATCHDOG_USEC: '1000' });
  await service.ready();
  service.status('x');
  service.startWatchdog(() => assert.fail('there is no watchdog'));
  await service.stopping();
});

test('a systemd that cannot be told fails the start, and later is reported', async () => {
  const lost: Error[] = [];
  const env = { NOTIFY_SOCKET: '/nonexistent/notify', PATH: process.env['PATH'] };
  const service = openServiceNotifier(env, (error) => lost.push(error));
  const details = {
    path: 'systemd-notify',
    what: 'program that notifies the service manager',
    cause: 'Failed to notify init system: No such file or directory',
    remedy: 'install systemd-notify, or start the agent without NOTIFY_SOCKET',
  };
  await rejectsCode(service.ready(), 'FILE_UNREADABLE', details);
  assert.deepEqual(lost, []);
  await service.stopping();
  assert.equal(lost.length, 1);
});

test('a machine without systemd-notify is told what to install', async () => {
  const service = openServiceNotifier({ NOTIFY_SOCKET: '/nonexistent', PATH: '/nonexistent' });
  await rejectsCode(service.ready(), 'FILE_UNREADABLE', {
    path: 'systemd-notify',
    what: 'program that notifies the service manager',
    cause: 'ENOENT: spawn systemd-notify ENOENT',
    remedy: 'install systemd-notify, or start the agent without NOTIFY_SOCKET',
  });
});
