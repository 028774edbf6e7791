/** The daemon on an OSTree device: the treehub over mutual TLS with the key in the token, then the report. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { FAULTS, rowOf, type FaultName } from '../director/faults.ts';
import type { Parameters } from '../director/faults/row.ts';
import { canBootOstree, OstreeDevice, useMemory } from '../support/ostree-device.ts';
import { makeOstreeRepo, OS, OSTREE, ostree, type OstreeRepo } from '../support/ostree-repo.ts';
import { demandStops, descendantsOf } from '../support/processes.ts';
import { holdAt } from '../support/tracing.ts';
import { DEVICE, HARDWARE, describe as said, openWorld, type World } from '../support/world.ts';

interface Request {
  readonly path: string;
  readonly status: number;
}
interface Registered {
  readonly assignment: { readonly outcome: string; readonly report?: { readonly result: object } };
  readonly installed: Record<string, { readonly filename: string; readonly hashes: object }>;
}

interface Played {
  readonly exit: number;
  readonly code: string;
  readonly attack?: string;
  /** What the Director knows afterwards: `failed` once it was told. */
  readonly outcome: 'failed' | 'pending';
  readonly parameters?: Parameters;
}

const PLAYED: Readonly<Partial<Record<FaultName, Played>>> = {
  'treehub-bit-flip': {
    exit: 31,
    code: 'IMAGE_HASH_MISMATCH',
    attack: 'arbitrary-software',
    outcome: 'failed',
    parameters: { file: '.dirtree', at: 9 },
  },
  'treehub-truncated': {
    exit: 30,
    code: 'DOWNLOAD_FAILED',
    outcome: 'pending',
    parameters: { file: '.filez' },
  },
  'treehub-endless': { exit: 30, code: 'DOWNLOAD_FAILED', outcome: 'pending' },
  'treehub-slow': {
    exit: 30,
    code: 'DOWNLOAD_TOO_SLOW',
    attack: 'slow-retrieval',
    outcome: 'pending',
  },
  'treehub-reset': { exit: 30, code: 'DOWNLOAD_FAILED', outcome: 'pending' },
  'treehub-missing': { exit: 30, code: 'DOWNLOAD_FAILED', outcome: 'pending' },
};

useMemory();
const skip = canBootOstree() ? false : 'booting a deployment needs ostree and root';

describe('the daemon on an OSTree device', { skip }, () => {
  let world: World;
  let repo: OstreeRepo;
  let system: OstreeDevice;
  let running: ChildProcess | undefined;

  before(async () => {
    world = await openWorld('provisioned');
    repo = makeOstreeRepo(world.directory);
    system = await OstreeDevice.open(join(world.directory, 'system'), repo);
    const unset = { slot_a: undefined, slot_b: undefined, marker: undefined };
    const installer = { type: 'ostree', ostree_os: OS, ostree_sysroot: system.sysroot };
    world.device.configure({
      installer: { ...unset, booted_file: undefined, ...installer },
      download: { attempts: 1, minimum_rate: '1MiB', minimum_rate_window: '1s' },
    });
    await world.director.control('PUT', '/settings', { treehub: repo.path });
    const image = { hardwareIds: [HARDWARE], version: '2', commit: repo.update };
    await world.director.publishCommit({ ...image, name: name() });
  });
  afterEach(async () => {
    await world.director.control('DELETE', '/faults');
    if (running?.exitCode !== null) return;
    const exited = once(running, 'exit');
    running.kill('SIGKILL');
    await exited;
  });
  after(async () => {
    await system.close();
    await world.close();
  });

  const name = (): string => `${OS}-${repo.update}`;
  const registered = async (): Promise<Registered> =>
    (await world.director.control('GET', `/devices/${DEVICE}`)) as Registered;
  const status = async (wanted: (status: Record<string, unknown>) => boolean): Promise<void> => {
    const deadline = performance.now() + 60_000;
    let last: Record<string, unknown> = {};
    while (performance.now() < deadline) {
      last = (await world.device.agent(['status'])).json;
      if (wanted(last)) return;
      await setTimeout(50);
    }
    assert.fail(`the daemon never got there: ${JSON.stringify(last)}`);
  };
  const idle = (json: Record<string, unknown>): boolean => typeof json['nextPollAt'] === 'string';

  for (const [fault, { exit, code, attack, outcome, parameters = {} }] of Object.entries(PLAYED)) {
    test(`${fault} is ${code} (exit ${String(exit)}), and the factory's commit goes on running`, async () => {
      await world.director.assign(DEVICE, name());
      await world.director.fault(fault as FaultName, 'on', { parameters });
      const result = await world.device.agent(['once']);
      assert.equal(result.exit, exit, said(result));
      assert.equal(result.json['code'], code);
      assert.equal(rowOf(fault as FaultName).code, code);
      assert.equal(result.json['attack'], attack);
      assert.equal((await registered()).assignment.outcome, outcome);
      assert.equal(system.running(), 'factory');
    });
  }

  test('every fault of the treehub that the Director knows is played here', () => {
    const names = Object.keys(FAULTS).filter((one) => one.startsWith('treehub-'));
    assert.deepEqual(Object.keys(PLAYED).toSorted(), names.toSorted());
  });

  test('doctor says what runs', async () => {
    const { json } = await world.device.agent(['doctor']);
    const checks = json['checks'] as readonly Record<string, string>[];
    const installer = checks.find((check) => check['name'] === 'installer');
    assert.match(installer?.['detail'] ?? '', new RegExp(`${OS} runs commit ${repo.factory}`, 'u'));
  });

  /** What changes a directory: ostree stays before the last of so many in one thread. */
  const CALLS = 'renameat,renameat2,symlinkat,linkat,mkdirat,unlinkat,fsync,fdatasync,syncfs';

  for (const { command, when } of [
    // Objects of earlier pulls are there already.
    { command: 'pull', when: 1 },
    { command: 'admin deploy', when: 20 },
  ]) {
    test(
      `stopped in the middle of ostree ${command}, the agent is gone in 2 s with all of ostree, and the factory’s commit boots`,
      { timeout: 120_000 },
      async () => {
        const trace = `TRACE='strace ${holdAt(CALLS, when).join(' ')}'`;
        system.setFault(`case "$*" in '${command} '*) ${trace} ;; esac`);
        await world.director.assign(DEVICE, name());
        const daemon = world.device.start(['run']);
        running = daemon;
        const started = (): boolean =>
          descendantsOf(daemon.pid ?? 0).some((one) =>
            one.command.startsWith(`${OSTREE} ${command} `),
          );
        while (!started()) {
          assert.equal(daemon.exitCode, null);
          await setTimeout(20);
        }
        await demandStops(daemon);
        system.setFault('');
        assert.match(system.nextRoot(), new RegExp(repo.factory, 'u'));
      },
    );
  }

  test('pulls exactly the signed commit with the device’s certificate, boots it, reports it', async () => {
    running = world.device.start(['run']);
    await status((json) => json['state'] === 'awaiting-boot' && idle(json));
    const requests = (await world.director.control(
      'GET',
      `/requests?device=${DEVICE}`,
    )) as readonly Request[];
    const served = requests.filter(({ path }) => path.startsWith('/treehub/'));
    const object = `${repo.update.slice(0, 2)}/${repo.update.slice(2)}.commit`;
    assert.ok(served.some(({ path, status: code }) => path.endsWith(object) && code === 200));
    assert.deepEqual(
      served.filter(({ path }) => path.includes('/refs/')),
      [],
    );
    const exited = once(running, 'exit');
    running.kill('SIGTERM');
    await exited;

    await system.boot();
    world.device.boot();
    assert.equal(system.running(), 'update');
    running = world.device.start(['run']);
    await status((json) => json['state'] === 'idle' && idle(json));
    const { assignment, installed } = await registered();
    assert.equal(assignment.outcome, 'done');
    const [image] = Object.values(installed);
    assert.deepEqual([image?.filename, image?.hashes], [name(), { sha256: repo.update }]);
    assert.match(
      ostree('fsck', `--repo=${system.repo}`),
      /object fsck of \d+ commits completed successfully/u,
    );
  });
});
