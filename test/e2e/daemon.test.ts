/** The daemon as a process: idle price, local API, an update on its own, a clean end. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { pollNow } from '../support/poll-now.ts';
import { startTee } from '../support/tee.ts';
import { DEVICE, describe as said, openWorld, type World } from '../support/world.ts';

interface Stats {
  readonly devices: Record<string, { connections: number; requests: number }>;
}

describe('the daemon', () => {
  let world: World;
  let running: ChildProcess | undefined;
  before(async () => {
    world = await openWorld('provisioned');
  });
  afterEach(async () => {
    if (running?.exitCode !== null || running.signalCode !== null) return;
    const exited = once(running, 'exit');
    // The whole group: strace alone would leave what it traces behind.
    process.kill(-(running.pid ?? 0), 'SIGKILL');
    await exited;
  });
  after(() => world.close());

  /** Waits until `status` shows what is wanted; the daemon answers it between cycles. */
  const status = async (
    wanted: (status: Record<string, unknown>) => boolean,
  ): Promise<Record<string, unknown>> => {
    for (let attempt = 0; attempt < 100; attempt += 1) {
      const { json } = await world.device.agent(['status']);
      if (wanted(json)) return json;
      await setTimeout(50);
    }
    return assert.fail('the daemon never got there');
  };
  const idle = (json: Record<string, unknown>): boolean => typeof json['nextPollAt'] === 'string';

  test('three idle polls are one connection, three requests each, and one durable write each', async () => {
    const trace = join(world.directory, 'sync.strace');
    const agent = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
    const args = [process.execPath, agent, 'run', '--config', world.device.configPath];
    const strace = ['-f', '-qq', '-e', 'trace=fsync,fdatasync,msync,sync_file_range', '-o', trace];
    running = spawn('strace', [...strace, ...args], {
      env: { ...process.env, ...world.tee.env },
      stdio: 'ignore',
      detached: true,
    });
    let last = (await status(idle))['nextPollAt'];
    const syncs = (): number =>
      readFileSync(trace, 'utf8')
        .split('\n')
        .filter((line) => line.includes('sync') && !line.includes('resumed')).length;
    await world.director.control('DELETE', '/stats');
    const before = syncs();
    for (let poll = 0; poll < 3; poll += 1) {
      const previous = last;
      await pollNow(world);
      last = (await status((json) => idle(json) && json['nextPollAt'] !== previous))['nextPollAt'];
    }
    const { devices } = (await world.director.control('GET', '/stats')) as Stats;
    const { connections, requests } = devices[DEVICE] ?? { connections: -1, requests: -1 };
    assert.ok(connections <= 1, `${String(connections)} connections`);
    assert.equal(requests, 9);
    assert.equal(syncs() - before, 3);
  });

  test('an update comes by itself, waits for the reboot, and is confirmed after it', async () => {
    const content = Buffer.alloc(1_000_000, 'by itself');
    await world.offer('by-itself.img', content);
    running = world.device.start(['run']);
    await status((json) => json['state'] === 'awaiting-boot' && idle(json));
    const exited = once(running, 'exit');
    running.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);

    world.device.boot();
    running = world.device.start(['run']);
    await status((json) => json['state'] === 'idle' && idle(json));
    assert.ok(world.device.running(content.length).equals(content));
    assert.equal(world.device.marker()['state'], 'good');
    const { json } = await world.device.agent(['status']);
    assert.equal((json['tlsBackend'] as Record<string, unknown>)['backend'], 'engine');
    assert.equal((json['lastUpdate'] as Record<string, unknown>)['code'], 'OK');

    const back = await world.device.agent(['rollback']);
    assert.equal(back.exit, 11, said(back));
    assert.equal(world.device.boot(), 'a');
    const again = await status((now) => now['lastCycle'] !== undefined && idle(now));
    assert.equal(again['state'], 'idle', 'what was rolled back is not installed again by itself');
  });

  test('a second agent on the same storage is refused and says who works on it', async () => {
    running = world.device.start(['run']);
    await status(idle);
    const second = await world.device.agent(['once']);
    assert.equal(second.exit, 2, said(second));
    assert.equal(second.json['code'], 'STORAGE_BUSY');
    const doctor = await world.device.agent(['doctor']);
    assert.equal(doctor.exit, 0, said(doctor));
  });

  test('a TEE that restarts ends the daemon with exit 50, and a new one goes on where it was', async () => {
    running = world.device.start(['run']);
    await status(idle);
    await world.tee.stop();
    const exited = once(running, 'exit');
    await pollNow(world);
    assert.deepEqual(await exited, [50, null]);
    const tee = await startTee(world.directory);
    try {
      running = world.device.start(['run']);
      await status(idle);
    } finally {
      const stopped = once(running, 'exit');
      running.kill('SIGTERM');
      await stopped;
      await tee.stop();
    }
  });
});
