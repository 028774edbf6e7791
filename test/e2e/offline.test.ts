/** Updates from sticks that the Director's own tool wrote, on a device that has no gateway for a while. */
import assert from 'node:assert/strict';
import { execFile, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

import { startDirector, type DirectorHandle } from '../director/start.ts';
import { endChild } from '../support/end-child.ts';
import { pollNow } from '../support/poll-now.ts';
import { DEVICE, describe as said, HARDWARE, openWorld, type World } from '../support/world.ts';

const CLI = join(import.meta.dirname, '..', 'director', 'cli.ts');

interface ManifestRecord {
  readonly verdict: { readonly code: string };
  readonly manifest: {
    readonly signed: {
      readonly installation_report?: {
        readonly report: { readonly correlation_id: string; readonly result: { code: string } };
      };
    };
  };
}

describe('updates from a stick', () => {
  let world: World;
  let again: DirectorHandle | undefined;
  let running: ChildProcess | undefined;
  let at: string;
  /** Another stick, until it is mounted in the place of the first. */
  let next: string;

  before(async () => {
    world = await openWorld('provisioned');
    at = join(world.directory, 'stick');
    next = join(world.directory, 'next-stick');
    world.device.configure({ download: { attempts: 1 } });
    // What the Director assigned while there was a way: it still says so afterwards.
    await world.offer('online.img', Buffer.alloc(100_000, 'online'));
    assert.equal((await world.device.agent(['once'])).exit, 11);
    world.device.boot();
    assert.equal((await world.device.agent(['once'])).exit, 0);
  });
  afterEach(() => endChild(running, 'SIGKILL'));
  after(async () => {
    await again?.stop();
    await world.close();
  });

  const director = async (...args: readonly string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...[CLI, '--state', world.director.stateDir],
      ...args,
    ]);
    return stdout;
  };

  /** Publishes an image and signs it as the next version of the lockbox. */
  const release = async (name: string, content: Buffer): Promise<void> => {
    const path = join(world.directory, name);
    writeFileSync(path, content);
    await director('publish', path, '--name', name, '--version', '1', '--hardware-id', HARDWARE);
    await director('lockbox', 'spring', name);
  };

  const status = async (
    wanted: (status: Record<string, unknown>) => boolean,
  ): Promise<Record<string, unknown>> => {
    for (let attempt = 0; attempt < 200; attempt += 1) {
      const { json } = await world.device.agent(['status']);
      if (wanted(json)) return json;
      await setTimeout(50);
    }
    return assert.fail('the daemon never got there');
  };
  /** Only the small process is there, which waits. */
  const resting = async ({ pid }: ChildProcess): Promise<void> => {
    const children = `/proc/${String(pid)}/task/${String(pid)}/children`;
    for (let attempt = 0; readFileSync(children, 'utf8').trim() !== ''; attempt += 1) {
      assert.ok(attempt < 600, 'the worker never went');
      await setTimeout(50);
    }
  };
  const refused = async (...args: readonly string[]): Promise<readonly unknown[]> => {
    const { exit, json } = await world.device.agent(['update', '--offline', ...args]);
    return [exit, json['code']];
  };

  test('a stick as the Director’s tool writes it has the layout of PURE-2', async () => {
    mkdirSync(at);
    await release('first.img', Buffer.alloc(300_000, 'first'));
    assert.equal(await director('stick', at), 'spring 1: first.img\n');
    assert.deepEqual(readdirSync(join(at, 'metadata', 'director')).sort(), [
      '1.root.json',
      '2.root.json',
      'offline-snapshot.json',
      'spring.json',
    ]);
    assert.deepEqual(readdirSync(join(at, 'metadata', 'image-repo')).sort(), [
      '1.root.json',
      'snapshot.json',
      'targets.json',
    ]);
    const [image = '', ...others] = readdirSync(join(at, 'images'));
    assert.match(image, /^[0-9a-f]{64}$/u);
    assert.deepEqual(others, []);
  });

  test('with no gateway at all it is installed, confirmed after the boot, and shown', async () => {
    await world.director.stop();
    const update = await world.device.agent(['update', '--offline', at]);
    assert.equal(update.exit, 11, said(update));
    assert.match(String(update.json['correlationId']), /^urn:tdx-ota:lockbox:spring:1:/u);
    world.device.boot();
    rmSync(at, { recursive: true });
    const once = await world.device.agent(['once']);
    assert.deepEqual([once.exit, once.json['code']], [21, 'GATEWAY_UNREACHABLE'], said(once));
    assert.ok(world.device.running(300_000).equals(Buffer.alloc(300_000, 'first')));
    assert.equal(world.device.marker()['state'], 'good');
    const { json } = await world.device.agent(['status']);
    assert.deepEqual([json['state'], json['reportsWaiting']], ['idle', 1]);
    const history = await world.device.agent(['history']);
    assert.match(history.stdout, /offline from the lockbox spring/u);
  });

  test('what is wrong with a stick is an exit code and a failure code, and changes nothing', async () => {
    again = await startDirector({ stateDir: world.director.stateDir });
    await release('second.img', Buffer.alloc(400_000, 'second'));
    mkdirSync(at);
    await director('stick', at);
    // The same image as another update: what failed is not tried again by itself.
    await director('lockbox', 'spring', 'second.img');
    mkdirSync(next);
    assert.equal(await director('stick', next, 'spring'), 'spring 3: second.img\n');
    await again.stop();
    const [image = ''] = readdirSync(join(at, 'images'));
    assert.deepEqual(await refused(world.directory), [2, 'FILE_UNREADABLE']);
    assert.deepEqual(await refused(at, '--lockbox', 'autumn'), [20, 'SNAPSHOT_ROLE_MISSING']);
    writeFileSync(join(at, 'images', image), Buffer.alloc(400_000, 'forged'));
    assert.deepEqual(await refused(at), [31, 'IMAGE_HASH_MISMATCH']);
    rmSync(join(at, 'images', image));
    assert.deepEqual(await refused(at), [30, 'DOWNLOAD_FAILED']);
    assert.ok(world.device.running(5).equals(Buffer.from('first')));
    rmSync(at, { recursive: true });
  });

  test('the daemon notices a stick by itself; the Director hears of all when there is a way', async () => {
    world.device.configure({
      offline: { sources: [at], interval: '1s' },
      daemon: { linger: '200ms' },
    });
    running = world.device.start(['run']);
    await status((json) => typeof json['nextPollAt'] === 'string');
    await resting(running);
    renameSync(next, at);
    await status((json) => json['state'] === 'awaiting-boot');
    const exited = once(running, 'exit');
    running.kill('SIGKILL');
    await exited;
    world.device.boot();
    running = world.device.start(['run']);
    await status((json) => json['reportsWaiting'] === 3 && json['state'] === 'idle');
    assert.ok(world.device.running(400_000).equals(Buffer.alloc(400_000, 'second')));

    again = await startDirector({ stateDir: world.director.stateDir });
    await pollNow(world);
    await status((json) => json['reportsWaiting'] === 0 && json['lastCycle'] === 'up-to-date');
    const path = `/devices/${DEVICE}/manifests`;
    const manifests = (await again.control('GET', path)) as readonly ManifestRecord[];
    const told = manifests.flatMap(({ manifest, verdict }) => {
      const { installation_report: report } = manifest.signed;
      if (report?.report.correlation_id.includes(':lockbox:') !== true) return [];
      const { correlation_id: id, result } = report.report;
      return [[id.replace(/:[0-9a-f]+$/u, ''), result.code.replace(/^.*:/u, ''), verdict.code]];
    });
    assert.deepEqual(told, [
      ['urn:tdx-ota:lockbox:spring:1', 'OK', 'accepted'],
      ['urn:tdx-ota:lockbox:spring:2', 'VERIFICATION_FAILED', 'accepted'],
      ['urn:tdx-ota:lockbox:spring:3', 'OK', 'accepted'],
    ]);
    const events = JSON.stringify(await again.control('GET', `/devices/${DEVICE}/events`));
    assert.match(events, /lockbox:spring:3:[^"]*","ecu":"device-1-primary","success":true/u);
    assert.ok(world.device.running(6).equals(Buffer.from('second')), 'and stays');
  });
});
