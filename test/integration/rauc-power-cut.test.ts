/** RAUC, its bus, its client or the agent ends, hangs or was never there, while a bundle is installed. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';

import { isOtaError } from '../../agent/errors.ts';
import { RaucInstaller } from '../../agent/io/installers/rauc/installer.ts';
import { inChild } from '../support/in-child.ts';
import { RaucBench, silent, type Device } from '../support/rauc-bench.ts';
import { raucProblem, type RaucOptions } from '../support/rauc-device.ts';
import type { Job, Journal } from '../support/rauc-driver.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DRIVER = join(import.meta.dirname, '..', 'support', 'rauc-driver.ts');
/** All points take minutes: every so many in one run, another share in each. */
const STRIDE = Number(process.env['OTA_TEST_RAUC_STRIDE'] ?? '12');

const workshop = temporaryDirectory('rauc-cut');
after(() => {
  workshop.remove();
});
const problem = raucProblem();
if (problem === undefined) suite(new RaucBench(workshop.path));
else test('rauc and power cuts', { skip: problem }, () => undefined);

function suite(bench: RaucBench): void {
  const { update } = bench;
  const { target } = update;

  describe('rauc, while somebody fails', () => {
    const open: Device[] = [];
    const { PATH } = process.env;
    afterEach(async () => {
      process.env['PATH'] = PATH;
      for (const device of open.splice(0)) await device.close();
    });
    const device = async (changes: Partial<RaucOptions> = {}): Promise<Device> => {
      const opened = await bench.open(changes);
      open.push(opened);
      return opened;
    };
    const write = (at: Device): Promise<void> => at.installer.write(target, update.path, silent);
    const runsFactory = (at: Device): void => {
      at.boot();
      assert.equal(at.runs(), 'factory');
    };
    const finishes = async (at: Device): Promise<void> => {
      await at.installer.activate(target);
      at.boot();
      assert.equal(at.runs(), 'update');
      assert.equal(await at.installer.booted(target), true);
    };

    test('RAUC killed -9 while it installs is started again, and the bundle with it', async () => {
      const at = await device();
      at.holdHooks();
      const writing = write(at);
      await at.held();
      at.killRauc();
      at.releaseHooks();
      await writing;
      await finishes(at);
    });

    test('RAUC killed -9 twice is INSTALL_FAILED, what it says of its slot is not believed, and a later try goes well', async () => {
      const at = await device();
      await write(at);
      at.holdHooks();
      const writing = fails(write(at), /RAUC has ended twice while it installed/u);
      await at.held();
      at.killRauc();
      await at.held();
      at.killRauc();
      await writing;
      at.releaseHooks();
      // RAUC 1.8 calls the slot good and names the image that was there before.
      assert.match(readFileSync(join(at.directory, 'rauc.status'), 'utf8'), /status=ok/u);
      await fails(at.installer.activate(target), /it was not installed to the end/u);
      await at.installer.rollBack(target);
      runsFactory(at);
      await write(at);
      await finishes(at);
    });

    test('the bus that goes away and comes back takes RAUC with it, and the bundle is installed again', async () => {
      const at = await device();
      at.holdHooks();
      const writing = write(at);
      await at.held();
      await at.stopBus();
      at.releaseHooks();
      await at.startBus();
      await writing;
      await finishes(at);
    });

    test('RAUC that hangs is INSTALL_FAILED in time; when it goes on, nothing is chosen, and a later try waits for it', async () => {
      const at = await device();
      const installer = new RaucInstaller({ ...at.settings, callTimeoutMs: 500 });
      at.holdHooks();
      const writing = fails(
        installer.write(target, update.path, silent),
        /D-Bus: GetAll of :.*: Connection timed out; see systemctl status rauc\.service/u,
      );
      await at.held();
      at.killRauc('SIGSTOP');
      await writing;
      await fails(installer.rollBack(target), /timed out/u);
      at.killRauc('SIGCONT');
      const again = write(at);
      at.releaseHooks();
      await again;
      assert.equal(at.environment()['BOOT_ORDER'], 'A');
      await finishes(at);
    });

    test('an installation that never ends is INSTALL_FAILED after installer.rauc_install_timeout', async () => {
      const at = await device();
      const installer = new RaucInstaller({ ...at.settings, installTimeoutMs: 300 });
      at.holdHooks();
      await fails(
        installer.write(target, update.path, silent),
        /RAUC has not installed within 0\.3 s; see journalctl -u rauc/u,
      );
      await fails(
        installer.write(target, update.path, silent),
        /RAUC is still installing; see journalctl -u rauc/u,
      );
      runsFactory(at);
    });

    test('no RAUC, no bus, and no busctl are each INSTALL_FAILED with what is missing', async () => {
      const at = await device();
      at.removeRauc();
      await fails(at.installer.check(target), /The name de\.pengutronix\.rauc was not provided/u);
      await fails(at.installer.booted(target), /The name de\.pengutronix\.rauc was not provided/u);
      await at.stopBus();
      await fails(at.installer.check(target), /D-Bus: .*(Connection refused|No such file)/u);
      await fails(at.installer.describe(), /D-Bus: .*(Connection refused|No such file)/u);
      process.env['PATH'] = '';
      await fails(at.installer.check(target), /busctl cannot be run: .*ENOENT/u);
    });

    test('a busctl that crashes, hangs or prints nonsense is INSTALL_FAILED and names itself', async () => {
      const at = await device();
      const installer = new RaucInstaller({ ...at.settings, callTimeoutMs: 100 });
      const replaced = async (script: string, cause: RegExp): Promise<void> => {
        replaceBusctl(at, script);
        await fails(installer.check(target), cause);
      };
      await replaced('kill -SEGV $$', /busctl was ended by SIGSEGV/u);
      await replaced('sleep 60', /busctl did not end within 2\.1 s/u);
      await replaced('echo nonsense', /busctl printed no JSON for GetAll: nonsense/u);
      await replaced(`echo '{"type":"s","data":[1]}'`, /has no properties of/u);
    });

    test('the agent killed -9 before or after any call to RAUC converges to the new image, and the device boots at each', async (t) => {
      const calls = await callsOfOneUpdate(await device(), update.path);
      const points = Array.from({ length: 2 * calls }, (_, point) => point);
      const offset = Math.floor(Math.random() * STRIDE);
      const chosen = points.filter((point) => point % STRIDE === offset % STRIDE);
      t.diagnostic(
        `${String(chosen.length)} of ${String(points.length)} points, from ${String(offset)}`,
      );
      let killed = 0;
      for (const point of chosen) {
        // Every other call also where RAUC chooses by itself what it has installed.
        const at = await device(Math.floor(point / 2) % 2 === 0 ? {} : { system: '' });
        const when = `${point % 2 === 0 ? 'before' : 'after'} ${String(Math.floor(point / 2) + 1)}`;
        killAt(at, when);
        const kills = await converge(at, update.path, point % 3 !== 0);
        assert.ok(kills <= 1, when);
        killed += kills;
        await at.close();
      }
      // How often RAUC is asked how far it is differs: the last points may lie behind the end.
      assert.ok(killed > chosen.length / 2, `${String(killed)} of ${String(chosen.length)}`);
    });
  });
}

/** How often `busctl` is run from the beginning to the confirmed image. */
async function callsOfOneUpdate(at: Device, staged: string): Promise<number> {
  killAt(at, 'never');
  assert.equal(await converge(at, staged, false), 0);
  return Number(readFileSync(join(at.directory, 'calls'), 'utf8'));
}

/**
 * Runs the update to its end, with a boot wherever one is waited for.
 *
 * @param cutsPower - where the agent was killed; else it is only started again
 * @returns how often it was killed
 */
async function converge(at: Device, staged: string, cutsPower: boolean): Promise<number> {
  const journal = join(at.directory, 'journal');
  writeFileSync(journal, 'writing' satisfies Journal);
  let killed = 0;
  for (let run = 0; run < 6; run += 1) {
    const bootId = readFileSync(at.bootId, 'utf8').trim();
    const job: Job = { settings: at.settings, staged, journal, bootId };
    const ended = await inChild(DRIVER, 'update', job, { PATH: pathOf(at) }).catch(() => 'killed');
    if (ended === 'killed') {
      killed += 1;
      if (cutsPower) at.boot();
      assert.doesNotMatch(at.runs(), /neither/u);
      continue;
    }
    assert.ok(typeof ended === 'object' && ended.value !== undefined, JSON.stringify(ended));
    if (ended.value === 'done') {
      for (let boot = 0; boot < 2; boot += 1) at.boot();
      assert.equal(at.runs(), 'update');
      return killed;
    }
    assert.equal(ended.value, 'reboot');
    at.boot();
  }
  return assert.fail('the update did not come to an end');
}

/** @param when - `before N` or `after N`: at the N-th call of `busctl`, the agent is killed */
function killAt(at: Device, when: string): void {
  const calls = join(at.directory, 'calls');
  writeFileSync(calls, '0');
  replaceBusctl(
    at,
    `n=$(($(cat ${calls}) + 1)); echo $n >${calls}
[ "before $n" = "${when}" ] && { kill -9 $PPID; exit; }
/usr/bin/busctl "$@"; code=$?
[ "after $n" = "${when}" ] && kill -9 $PPID
exit $code`,
  );
}

function replaceBusctl(at: Device, script: string): void {
  const program = join(at.directory, 'agent-bin', 'busctl');
  mkdirSync(join(at.directory, 'agent-bin'), { recursive: true });
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o755);
  process.env['PATH'] = pathOf(at);
}

function pathOf(at: Device): string {
  return `${join(at.directory, 'agent-bin')}:/usr/bin:/bin:/usr/sbin:/sbin`;
}

async function fails(act: Promise<unknown>, cause: RegExp): Promise<void> {
  await assert.rejects(act, (error: unknown) => {
    assert.ok(isOtaError(error) && error.code === 'INSTALL_FAILED', String(error));
    assert.match(error.details.cause, cause);
    return true;
  });
}
