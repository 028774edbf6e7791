/** A device that SWUpdate updates, from the Director's assignment to its confirmed report. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { endChild } from '../support/end-child.ts';
import { pollNow } from '../support/poll-now.ts';
import { demandStops } from '../support/processes.ts';
import { makeSwu, makeSwuKey, type SwuKey, type SwuOptions } from '../support/swu.ts';
import { BOOTED, KEEP, SwupdateBoard, TRY } from '../support/swupdate-board.ts';
import { canTrace } from '../support/tracing.ts';
import { DEVICE, describe as said, openWorld, type World } from '../support/world.ts';

const FACTORY = Buffer.from('factory image');
const IMAGE = Buffer.alloc(2 * 1024 * 1024, 'new image ');
const NAME = 'fw-2.swu';

describe('a device that SWUpdate updates', () => {
  let world: World;
  let board: SwupdateBoard;
  let key: SwuKey;
  let running: ChildProcess | undefined;
  before(async () => {
    world = await openWorld('provisioned');
    key = makeSwuKey(world.directory, 'maker');
    const directory = world.device.options.directory;
    board = SwupdateBoard.create(join(directory), FACTORY, key.certificatePath);
    const settings = Object.entries({
      mode: { a: 'copy-a', b: 'copy-b' },
      devices: { a: [board.slots.a], b: [board.slots.b] },
      booted: BOOTED,
      try: TRY,
      keep: KEEP,
    }).flatMap(([name, { a, b }]) => [
      [`swupdate_${name}_a`, a],
      [`swupdate_${name}_b`, b],
    ]);
    world.device.configure({
      installer: {
        type: 'swupdate',
        slot_a: undefined,
        slot_b: undefined,
        marker: undefined,
        booted_file: board.cmdline,
        swupdate_socket: board.socketPath,
        swupdate_fw_env: board.fwEnv,
        ...(Object.fromEntries(settings) as Record<string, unknown>),
      },
      boot: { boot_id_file: board.bootId },
    });
    await board.startDaemon();
  });
  after(async () => {
    await endChild(running, 'SIGKILL');
    await board.killDaemon();
    await world.close();
  });

  const status = async (state: string): Promise<Record<string, unknown>> => {
    for (let attempt = 0; attempt < 100; attempt += 1) {
      const { json } = await world.device.agent(['status']);
      if (json['state'] === state && typeof json['nextPollAt'] === 'string') return json;
      await setTimeout(100);
    }
    return assert.fail(`the daemon never was ${state}`);
  };
  const offer = (name: string, image: Buffer, more: Partial<SwuOptions> = {}): Promise<void> => {
    const devices = { 'copy-a': board.slots.a, 'copy-b': board.slots.b };
    return world.offer(name, makeSwu(world.directory, image, key, { devices, ...more }));
  };
  const installed = async (): Promise<string> => {
    const path = `/devices/${DEVICE}/manifests`;
    const records = (await world.director.control('GET', path)) as readonly {
      readonly manifest: {
        readonly signed: {
          readonly ecu_version_manifests: Record<
            string,
            { readonly signed: { readonly installed_image: { readonly filepath: string } } }
          >;
        };
      };
    }[];
    const [report] = Object.values(records.at(-1)?.manifest.signed.ecu_version_manifests ?? {});
    return report?.signed.installed_image.filepath ?? '';
  };

  test('doctor says what SWUpdate and the boot environment say', async () => {
    const { exit, json, ...rest } = await world.device.agent(['doctor']);
    assert.equal(exit, 0, said({ exit, json, ...rest }));
    assert.match(JSON.stringify(json), /swupdate: booted a; .*hardware board:1\.0; .*boot_slot=a/u);
  });

  test('the daemon installs, waits for the reboot, confirms what booted, and reports it', async () => {
    await offer(NAME, IMAGE);
    running = world.device.start(['run']);
    await status('awaiting-boot');
    assert.ok(board.running(FACTORY.byteLength).equals(FACTORY));
    assert.equal(board.variables()['upgrade_available'], '1');
    const exited = once(running, 'exit');
    running.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);

    assert.equal(board.boot(), 'b');
    running = world.device.start(['run']);
    const { lastUpdate } = await status('idle');
    assert.equal((lastUpdate as Record<string, unknown>)['code'], 'OK');
    assert.ok(board.running(IMAGE.byteLength).equals(IMAGE));
    assert.equal(board.variables()['upgrade_available'], '0');
    assert.equal(await installed(), NAME);
    const stopped = once(running, 'exit');
    running.kill('SIGTERM');
    await stopped;
  });

  /** SWUpdate stays before its next write to `slot`, until what is returned is called. */
  const holdWrites = async (slot: string): Promise<() => void> => {
    const inject = 'inject=write:delay_enter=600000000:when=8';
    const what = ['-f', '-P', slot, '-e', 'trace=write', '-e', inject, '-o', '/dev/null'];
    const strace = spawn('strace', [...what, '-p', String(board.daemonPid)]);
    // It says to what it has attached itself.
    await once(strace.stderr, 'data');
    return () => strace.kill('SIGKILL');
  };

  for (const { when, attributes, letter } of [
    { when: 'as it arrives', attributes: 'installed-directly = true;', letter: 'x' },
    { when: 'once it has all of it', attributes: '', letter: 'y' },
  ]) {
    test(
      `stopped while SWUpdate writes the image ${when}, the agent is gone in 2 s, and the next one installs it`,
      { skip: canTrace(), timeout: 120_000 },
      async (t) => {
        const image = Buffer.alloc(IMAGE.byteLength, letter);
        const name = `fw-${letter}.swu`;
        const daemon = board.daemonPid;
        const slot = board.slots[board.bootedSlot === 'a' ? 'b' : 'a'];
        running = world.device.start(['run']);
        await status('idle');
        const variables = board.variables();
        const goOn = await holdWrites(slot);
        t.after(goOn);
        await offer(name, image, { attributes });
        await pollNow(world);
        while (readFileSync(slot).at(0) !== image.at(0)) {
          assert.equal(running.exitCode, null);
          await setTimeout(20);
        }
        await demandStops(running);
        goOn();
        assert.deepEqual(board.variables(), variables, 'nothing was chosen');

        running = world.device.start(['run']);
        await status('awaiting-boot');
        assert.equal(board.daemonPid, daemon, board.log);
        await demandStops(running);
        assert.equal(board.slots[board.boot()], slot);
        running = world.device.start(['run']);
        const { lastUpdate } = await status('idle');
        assert.equal((lastUpdate as Record<string, unknown>)['code'], 'OK');
        assert.ok(board.running(image.byteLength).equals(image));
        assert.equal(board.variables()['upgrade_available'], '0');
        assert.equal(await installed(), name);
        await demandStops(running);
      },
    );
  }
});
