/** A download that people stop, let go on and end, through the daemon's socket. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { pollNow } from '../support/poll-now.ts';
import { DEVICE, describe as said, openWorld, type World } from '../support/world.ts';

const IMAGE_BYTES = 3_000_000;

describe('a download', () => {
  let world: World;
  let daemon: ChildProcess;
  let installed: string;
  before(async () => {
    world = await openWorld('provisioned');
    installed = join(world.directory, 'installed.img');
    world.device.configure({
      installer: { type: 'file', path: installed },
      download: { max_rate: '512KiB' },
    });
    daemon = world.device.start(['run']);
    await until((json) => typeof json['nextPollAt'] === 'string');
  });
  after(async () => {
    await stop();
    await world.close();
  });

  const stop = async (): Promise<void> => {
    const exited = once(daemon, 'exit');
    daemon.kill('SIGKILL');
    await exited;
  };

  const until = async (
    wanted: (status: Record<string, unknown>) => boolean,
  ): Promise<Record<string, unknown>> => {
    let last: Record<string, unknown> = {};
    for (let attempt = 0; attempt < 300; attempt += 1) {
      ({ json: last } = await world.device.agent(['status']));
      if (wanted(last)) return last;
      await setTimeout(20);
    }
    return assert.fail(`the daemon never got there: ${JSON.stringify(last)}`);
  };
  const says = async (command: string, exit: number): Promise<void> => {
    const result = await world.device.agent([command]);
    assert.equal(result.exit, exit, said(result));
  };
  const imageRequests = async (): Promise<number> => {
    const lines = await world.director.control('GET', `/requests?device=${DEVICE}`);
    const paths = (lines as { readonly path: string }[]).map(({ path }) => path);
    return paths.filter((path) => path.includes('/repo/targets/')).length;
  };
  /** Until the first byte of the image was asked for. */
  const begun = async (name: string): Promise<void> => {
    await world.offer(name, randomBytes(IMAGE_BYTES));
    const before = await imageRequests();
    await pollNow(world);
    for (let attempt = 0; (await imageRequests()) === before; attempt += 1) {
      assert.ok(attempt < 300, 'the download never began');
      await setTimeout(20);
    }
  };

  test('waits while it is paused, says so, and goes on where it was', async () => {
    await begun('paused.img');
    await says('pause', 12);
    const paused = await until((json) => json['state'] === 'paused');
    assert.ok(!existsSync(installed), 'nothing is installed while it waits');
    const asked = await imageRequests();
    await says('resume', 0);
    const done = await until((json) => json['state'] === 'idle' && existsSync(installed));
    assert.notDeepEqual(done['lastUpdate'], paused['lastUpdate']);
    assert.equal((done['lastUpdate'] as Record<string, unknown>)['code'], 'OK');
    assert.equal(await imageRequests(), asked + 1, 'it went on, and did not begin again twice');
    assert.equal(statSync(installed).size, IMAGE_BYTES);
  });

  test('outlives the daemon while it is paused', async () => {
    await begun('outlives.img');
    await says('pause', 12);
    await stop();
    daemon = world.device.start(['run']);
    await until((json) => json['state'] === 'paused' && typeof json['nextPollAt'] === 'string');
    const before = readFileSync(installed);
    await says('resume', 0);
    await until((json) => json['state'] === 'idle');
    assert.equal(readFileSync(installed).equals(before), false);
  });

  test('that is ended is told to the Director, and not tried again by itself', async () => {
    await begun('ended.img');
    const before = readFileSync(installed);
    await says('abort', 0);
    const { lastUpdate } = await until(
      (json) => json['state'] === 'idle' && typeof json['nextPollAt'] === 'string',
    );
    assert.equal((lastUpdate as Record<string, unknown>)['code'], 'UPDATE_ABORTED');
    const asked = await imageRequests();
    const last = (await until(() => true))['nextPollAt'];
    await pollNow(world);
    await until((json) => typeof json['nextPollAt'] === 'string' && json['nextPollAt'] !== last);
    assert.equal(await imageRequests(), asked);
    assert.ok(readFileSync(installed).equals(before));
    const device = await world.director.control('GET', `/devices/${DEVICE}`);
    const { assignment } = device as { readonly assignment: { readonly outcome: string } };
    assert.equal(assignment.outcome, 'failed');
  });

  test('that does not run can neither be paused nor ended', async () => {
    for (const command of ['pause', 'resume', 'abort']) {
      const result = await world.device.agent([command]);
      assert.equal(result.exit, 2, said(result));
      assert.equal(result.json['code'], 'USAGE');
    }
  });
});
