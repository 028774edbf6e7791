/** The daemon updates containers: stopped in the middle of what podman does for it, and gone on afterwards. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { endChild } from '../support/end-child.ts';
import { useMemory } from '../support/ostree-device.ts';
import { Podman, podmanProblem } from '../support/podman.ts';
import { demandStops } from '../support/processes.ts';
import { canTrace, holdAt } from '../support/tracing.ts';
import { DEVICE, describe as said, openWorld, type World } from '../support/world.ts';

useMemory();

const CALLS = 'renameat,renameat2,unlinkat,fsync,fdatasync';

describe('a device whose images are containers', { skip: podmanProblem() ?? canTrace() }, () => {
  let world: World;
  let engine: Podman;
  let daemon: ChildProcess | undefined;

  before(async () => {
    world = await openWorld('provisioned');
    const directory = join(world.directory, 'engine');
    engine = new Podman(directory);
    await engine.start();
    engine.makeArchives(['restart: always']);
    const unset = { slot_a: undefined, slot_b: undefined, marker: undefined };
    world.device.configure({
      installer: {
        ...unset,
        booted_file: undefined,
        type: 'compose',
        compose_command: ['podman-compose', '--podman-path', engine.program],
        project: 'device',
        path: join(world.directory, 'current'),
      },
    });
    // The first podman that is found.
    process.env['PATH'] = `${directory}:${process.env['PATH'] ?? ''}`;
  });
  afterEach(() => endChild(daemon, 'SIGKILL'));
  after(async () => {
    engine.clear();
    await engine.stop();
    await world.close();
  });

  const outcome = async (): Promise<string | undefined> => {
    const device = await world.director.control('GET', `/devices/${DEVICE}`);
    return (device as { readonly assignment?: { readonly outcome: string } }).assignment?.outcome;
  };

  test('installs the first one', async () => {
    await world.offer('app-1.tar.gz', engine.archive('factory'));
    const result = await world.device.agent(['once']);
    assert.equal(result.exit, 0, said(result));
    assert.equal(engine.running(), 'factory');
  });

  /** The call stays before the first thing that it would make last, until it is killed. */
  const holdIn = (call: string): string => {
    const [fault, held] = ['fault', 'held'].map((name) =>
      join(world.directory, 'engine', name),
    ) as [string, string];
    const trace = ['strace', ...holdAt(CALLS, 1)].join(' ');
    const hold = `rm ${fault}; : >${held}; TRACE='${trace}'`;
    writeFileSync(fault, `case "$*" in '${call}'*) ${hold} ;; esac\n`);
    return held;
  };

  for (const call of ['pull --quiet', 'stop -t', 'run --name']) {
    test(
      `stopped while podman does "${call}", the agent is gone in 2 s with all that it called`,
      { timeout: 120_000 },
      async () => {
        const held = holdIn(call);
        await world.offer('app-2.tar.gz', engine.archive('update'));
        daemon = world.device.start(['run']);
        while (!existsSync(held)) {
          assert.equal(daemon.exitCode, null);
          await setTimeout(20);
        }
        rmSync(held);
        assert.match((await demandStops(daemon)).join('\n'), /podman/u);
      },
    );
  }

  test(
    'the next one has the update running, alone and reported',
    { timeout: 120_000 },
    async () => {
      daemon = world.device.start(['run']);
      while ((await outcome()) === 'pending') {
        assert.equal(daemon.exitCode, null);
        await setTimeout(100);
      }
      assert.equal(await outcome(), 'done');
      await demandStops(daemon);
      assert.equal(engine.running(), 'update');
      assert.equal(engine.run('ps', '-a', '-q').trim().split('\n').length, 1);
    },
  );
});
