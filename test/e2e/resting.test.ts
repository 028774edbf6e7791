/** The daemon between two cycles: what it forgets, what it still knows, and what wakes it. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { pollNow } from '../support/poll-now.ts';
import { describe as said, openWorld, type World } from '../support/world.ts';

type Json = Record<string, unknown>;

describe('a daemon that waits', () => {
  let world: World;
  let daemon: ChildProcess;
  let stderr: string;
  let installed: string;
  before(async () => {
    world = await openWorld('provisioned');
    installed = join(world.directory, 'installed.img');
    world.device.configure({
      installer: { type: 'file', path: installed },
      daemon: { linger: '200ms' },
    });
    await start();
  });
  beforeEach(() => resting());
  after(async () => {
    await stop('SIGTERM');
    await world.close();
  });

  const start = async (): Promise<void> => {
    daemon = world.device.start(['run']);
    stderr = '';
    daemon.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    await until(() => stderr.includes(' started '));
  };
  const stop = async (signal: NodeJS.Signals): Promise<unknown> => {
    const exited = once(daemon, 'exit');
    daemon.kill(signal);
    return exited;
  };
  const socket = (): string => join(world.device.options.directory, 'api.sock');

  const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
    for (let attempt = 0; !(await holds()); attempt += 1) {
      assert.equal(daemon.exitCode, null, 'the daemon has ended');
      assert.ok(attempt < 1000, 'the daemon never got there');
      await setTimeout(20);
    }
  };
  const workers = (): readonly string[] => {
    const pid = String(daemon.pid);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return children === '' ? [] : children.split(' ');
  };
  /** Asked for its status it would say so in any case: it has no worker only when it really waits. */
  const resting = (): Promise<void> => until(() => workers().length === 0);
  const open = async (method: string, path: string): Promise<IncomingMessage> => {
    const asked = request({ socketPath: socket(), method, path }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return response;
  };
  const get = async (path: string): Promise<string> => {
    let text = '';
    for await (const part of await open('GET', path)) text += String(part);
    return text;
  };
  const status = async (): Promise<Json> => JSON.parse(await get('/v1/status')) as Json;
  const metric = async (name: string): Promise<number> => {
    const line = (await get('/metrics')).split('\n').find((one) => one.startsWith(`${name} `));
    return Number(line?.slice(name.length));
  };
  const CYCLES = 'ota_agent_cycles_total{outcome="up-to-date"}';

  test('answers for status and metrics from memory, and goes on counting where it was', async () => {
    const first = await status();
    assert.equal(first['lastCycle'], 'up-to-date');
    assert.equal(await metric(CYCLES), 1);
    const cpuSeconds = await metric('process_cpu_seconds_total');
    const residentBytes = await metric('process_resident_memory_bytes');
    assert.deepEqual(workers(), [], 'nobody was needed for that');

    await pollNow(world);
    await until(async () => (await metric(CYCLES)) === 2);
    assert.ok((await metric('process_resident_memory_bytes')) > residentBytes, 'of both processes');
    await resting();
    assert.equal(await metric(CYCLES), 2);
    assert.ok((await metric('process_cpu_seconds_total')) > cpuSeconds);
    const { nextPollAt, ...second } = await status();
    assert.notEqual(nextPollAt, first['nextPollAt']);
    assert.deepEqual({ ...second, nextPollAt: first['nextPollAt'] }, first);
  });

  test('costs neither a full handshake nor a new log of its database at the next poll', async () => {
    const path = join(world.device.options.directory, 'storage', 'ota-agent.db-wal');
    const log = statSync(path).ino;
    await world.director.control('DELETE', '/stats');
    await pollNow(world);
    await until(async () => (await metric(CYCLES)) === 3);
    await resting();
    const { devices } = (await world.director.control('GET', '/stats')) as { devices: Json };
    const { connections, sessionsReused } = Object.values(devices)[0] as Json;
    assert.deepEqual({ connections, sessionsReused }, { connections: 1, sessionsReused: 1 });
    assert.equal(statSync(path).ino, log);
  });

  test('has what it does not know answered, and is still locked against every other agent', async () => {
    assert.deepEqual(JSON.parse(await get('/v1/history')), { history: [] });
    await resting();
    const before = await status();
    const once = await world.device.agent(['once']);
    assert.equal(once.exit, 2, said(once));
    assert.equal(once.json['code'], 'STORAGE_BUSY');
    assert.deepEqual(await status(), before, 'a question is no poll');
    const checked = await world.device.agent(['check']);
    assert.equal(checked.exit, 0, said(checked));
    await resting();
  });

  test('tells those that listen what the next worker does, up to the update', async () => {
    const listening = await open('GET', '/v1/events');
    let heard = '';
    listening.setEncoding('utf8').on('data', (text: string) => (heard += text));
    const content = Buffer.from('came while it waited');
    await world.offer('resting.img', content);
    await pollNow(world);
    await until(() => heard.includes('event: cycle\ndata: {"outcome":"installed"}'));
    assert.match(heard, /event: transition\ndata: .*"to":"downloading"/u);
    assert.ok(readFileSync(installed).equals(content));
    await resting();
    const { json } = await world.device.agent(['status']);
    assert.equal((json['lastUpdate'] as Json)['code'], 'OK');
    listening.destroy();
  });

  test('waits in the same way for a consent, and installs when it is given', async () => {
    await stop('SIGTERM');
    world.device.configure({ update: { consent: 'always' } });
    const content = Buffer.from('agreed to');
    await world.offer('agreed.img', content);
    await start();
    await until(async () => (await status())['state'] === 'holding');
    await resting();
    const waiting = (await status())['waiting'] as Json;
    assert.deepEqual(
      (waiting['reasons'] as Json[]).map(({ by }) => by),
      ['consent'],
    );
    const approved = await world.device.agent(['approve']);
    assert.equal(approved.exit, 0, said(approved));
    await until(() => existsSync(installed) && readFileSync(installed).equals(content));
    world.device.configure({ update: { consent: 'never' } });
  });

  test('comes to the same as the cycles of a timer: held, installed, up to date', async () => {
    await stop('SIGTERM');
    world.device.configure({ update: { consent: 'always' } });
    const content = Buffer.from('from a timer');
    await world.offer('timer.img', content);
    const held = await world.device.agent(['once']);
    assert.equal(held.exit, 12, said(held));
    await start();
    await resting();
    const { state, waiting } = await status();
    assert.equal(state, 'holding');
    assert.equal((waiting as Json)['update'], (held.json['waiting'] as Json)['update']);
    await stop('SIGTERM');

    world.device.configure({ update: { consent: 'never' } });
    const done = await world.device.agent(['once']);
    assert.equal(done.json['outcome'], 'installed', said(done));
    assert.ok(readFileSync(installed).equals(content));
    assert.equal((await world.device.agent(['once'])).json['outcome'], 'up-to-date');
    await start();
    await resting();
    assert.equal((await status())['lastCycle'], 'up-to-date');
  });

  test('ends at once when it is told to, with exit 0', async () => {
    const toldMs = performance.now();
    assert.deepEqual(await stop('SIGTERM'), [0, null]);
    assert.ok(performance.now() - toldMs < 2000);
    assert.ok(!existsSync(socket()));
    await start();
  });

  test('ends with its worker, whoever has killed that, and says so', async () => {
    await pollNow(world);
    const [worker] = workers();
    assert.ok(worker !== undefined);
    const closed = once(daemon, 'close');
    process.kill(Number(worker), 'SIGKILL');
    assert.deepEqual(await closed, [1, null]);
    assert.match(stderr, /the process that works for the daemon ended with SIGKILL/u);
    await start();
  });

  test('takes its worker along when it is killed, and the next daemon can start at once', async () => {
    await pollNow(world);
    await stop('SIGKILL');
    await start();
    await resting();
    assert.equal((await status())['lastCycle'], 'up-to-date');
  });
});
