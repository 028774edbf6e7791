/** SWUpdate's daemon as it should not be: missing, crashing, hanging, misconfigured. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { installerOn } from '../support/swupdate-installer.ts';
import { causeOf, IMAGE, NEEDS_ROOT, none, SwupdateBenches } from '../support/swupdate-bench.ts';

const benches = new SwupdateBenches();

describe('a daemon that does not do its part', () => {
  test('not there: found before anything is downloaded, with what to do', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target, staged } = stage(make());
    const cause = await causeOf(installerOn(board).check(target));
    assert.equal(
      cause,
      `SWUpdate cannot be reached: connect ENOENT ${board.socketPath}; start its daemon, or set installer.swupdate_socket to its control socket`,
    );
    assert.equal(await causeOf(installerOn(board).write(target, staged, none)), cause);
    assert.equal(await causeOf(installerOn(board).describe()), cause);
  });

  test('speaking another protocol: refused by name', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target } = stage(make());
    // As a daemon with messages of another size does.
    const server = createServer((socket) => {
      socket.once('data', () => socket.end(Buffer.alloc(100, 1)));
    });
    await new Promise<void>((resolve) => server.listen(board.socketPath, resolve));
    t.after(() => new Promise((resolve) => server.close(resolve)));
    assert.equal(
      await causeOf(installerOn(board).check(target)),
      `${board.socketPath} does not speak SWUpdate's control protocol of 2022.12 to 2024.12 (64-bit): use such a release`,
    );
  });

  test('killed in the middle: the old image stays chosen, and a retry with a new daemon installs', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target, staged } = stage(make());
    const installer = installerOn(board);
    await board.startDaemon();
    let killed: Promise<void> | undefined;
    const cause = await causeOf(
      installer.write(target, staged, () => {
        killed ??= board.killDaemon();
      }),
    );
    assert.equal(cause, 'SWUpdate ended during the installation: restart its daemon');
    await killed;
    await causeOf(installer.activate(target));
    assert.equal(board.boot(), 'a');
    rmSync(board.socketPath);
    await board.startDaemon();
    await installer.write(target, staged, none);
    await installer.activate(target);
    assert.equal(board.boot(), 'b');
    assert.ok(board.running(IMAGE.byteLength).equals(IMAGE));
    assert.equal(await installer.booted(target), true);
  });

  test('hanging: given up in time before and during an installation, and used again when it goes on', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target, staged } = stage(make());
    const installer = installerOn(board, { quietMs: 400 });
    await board.startDaemon();
    board.signalDaemon('SIGSTOP');
    assert.equal(
      await causeOf(installer.check(target)),
      `SWUpdate at ${board.socketPath} did not answer within 0.4 s: restart it`,
    );
    board.signalDaemon('SIGCONT');
    const cause = await causeOf(
      installer.write(target, staged, () => {
        board.signalDaemon('SIGSTOP');
      }),
    );
    assert.equal(
      cause,
      'SWUpdate was silent for 0.4 s during the installation: restart its daemon',
    );
    board.signalDaemon('SIGCONT');
    assert.equal(board.boot(), 'a');
    const patient = installerOn(board);
    await patient.write(target, staged, none);
    await patient.activate(target);
    assert.equal(board.boot(), 'b');
    assert.equal(await patient.booted(target), true);
  });

  test('at work for somebody else: waited for', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target, staged } = stage(make());
    await board.startDaemon();
    const env = { ...process.env, TMPDIR: dirname(board.socketPath) };
    const other = spawn('swupdate-client', ['-'], { env, stdio: ['pipe', 'ignore', 'ignore'] });
    t.after(() => other.kill('SIGKILL'));
    while (!board.log.includes('Software update started')) await sleep(20);
    const written = installerOn(board).write(target, staged, none);
    await sleep(400);
    other.stdin.end();
    await written;
    assert.ok(readFileSync(board.slots.b).equals(IMAGE));
  });

  for (const [args, cause] of [
    [[], 'SWUpdate does not know its hardware: start its daemon with -H BOARD:REVISION'],
    [
      ['-H', 'board.v2:1.0'],
      `SWUpdate's hardware is board.v2:1.0: want a board without ".", "/" and ":"`,
    ],
  ] as const) {
    test(`started with ${args.join(' ') || 'no hardware'}: what it wants`, async (t) => {
      const { board, stage } = benches.openFor(t);
      const { target } = stage(Buffer.from('not looked at'));
      await board.startDaemon(args);
      assert.equal(await causeOf(installerOn(board).check(target)), cause);
    });
  }

  test('started for dry runs only: it is told to install all the same', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target, staged } = stage(make());
    await board.startDaemon(['-H', 'board:1.0', '-n']);
    await installerOn(board).write(target, staged, none);
    assert.ok(readFileSync(board.slots.b).subarray(0, IMAGE.byteLength).equals(IMAGE));
  });

  test(
    'marking the environment that chooses: undone, and told what to start it with',
    { skip: NEEDS_ROOT },
    async (t) => {
      const { board, directory, make, stage } = benches.openFor(t);
      const { target, staged } = stage(make());
      // Its environment is always the one of /etc/fw_env.config.
      const etc = join(directory, 'etc');
      mkdirSync(etc);
      execFileSync('cp', ['-a', '/etc/ld.so.cache', '/etc/passwd', '/etc/group', etc]);
      writeFileSync(join(etc, 'fw_env.config'), readFileSync(board.fwEnv));
      const inside = `mount --bind ${etc} /etc && exec "$0" "$@"`;
      const wrapper = ['unshare', '-m', 'sh', '-c', inside];
      await board.startDaemon(['-H', 'board:1.0', '-B', 'uboot'], wrapper);
      const before = board.variables();
      const variable = { name: 'ustate', value: before['ustate'] ?? '' };
      const installer = installerOn(board, { variable });
      assert.match(
        await causeOf(installer.write(target, staged, none)),
        /^SWUpdate changed the boot environment to .*ustate=1, which is undone: start its daemon with -B none, or with -M -m/u,
      );
      assert.equal(board.variables()['ustate'], undefined);
      await causeOf(installer.activate(target));
      // What marks nothing that chooses is in nobody's way.
      await installerOn(board).write(target, staged, none);
      assert.equal(board.boot(), 'a');
    },
  );
});

describe('a boot environment that cannot be used is found before anything is downloaded', () => {
  test('no tool: named, with what the system says', async (t) => {
    const { board, make, stage } = benches.openFor(t);
    const { target } = stage(make());
    const path = process.env['PATH'];
    process.env['PATH'] = '/nonexistent';
    t.after(() => {
      process.env['PATH'] = path;
    });
    assert.match(
      await causeOf(installerOn(board).check(target)),
      /^fw_printenv cannot be run: .*ENOENT/u,
    );
    process.env['PATH'] = path;
  });

  test('never saved, or not where the configuration says: what to check', async (t) => {
    const { board, directory, make, stage } = benches.openFor(t);
    const { target } = stage(make());
    const remedy = `; check ${board.fwEnv} and that U-Boot has saved its environment once`;
    writeFileSync(join(directory, 'env-1'), Buffer.alloc(0x4000));
    writeFileSync(join(directory, 'env-2'), Buffer.alloc(0x4000));
    const unsaved = await causeOf(installerOn(board).check(target));
    assert.match(unsaved, /^fw_printenv ended with \d+: Cannot read environment/u);
    assert.ok(unsaved.endsWith(remedy));
    writeFileSync(board.fwEnv, 'nonsense\n');
    assert.equal(
      await causeOf(installerOn(board).check(target)),
      `fw_printenv ended with 234: Configuration file wrong or corrupted${remedy}`,
    );
  });
});
