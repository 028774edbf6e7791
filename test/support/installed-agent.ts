/** The installed agent under a systemd of its own, with SoftHSM2 for a token and the mock Director. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { startDirector, type DirectorHandle } from '../director/start.ts';
import { bootSystem, whyNotBootable, type BootedSystem } from './booted-system.ts';
import { siteFiles } from './site-files.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');
const UNTIL_MS = 30_000;
const STOP_US = 2_000_000;

export class InstalledAgent {
  readonly #directory: string;
  #unable = whyNotBootable();
  #system: BootedSystem | undefined;
  #director: DirectorHandle | undefined;

  /** @param directory - for the Director, and for images; absolute */
  constructor(directory: string) {
    this.#directory = directory;
  }

  get system(): BootedSystem {
    assert.ok(this.#system !== undefined);
    return this.#system;
  }

  get director(): DirectorHandle {
    assert.ok(this.#director !== undefined);
    return this.#director;
  }

  /** Where the machine cannot boot a second system, tests are skipped. */
  async boot(): Promise<void> {
    if (this.#unable !== undefined) return;
    const stateDir = join(this.#directory, 'director');
    mkdirSync(stateDir);
    this.#director = await startDirector({ stateDir });
    const install = (layer: string): Promise<unknown> =>
      promisify(execFile)('sh', [join(REPOSITORY, 'systemd/install.sh'), layer]);
    const booted = await bootSystem(install, siteFiles(this.#director));
    if (typeof booted === 'string') this.#unable = booted;
    else this.#system = booted;
  }

  async close(): Promise<void> {
    await this.#system?.stop();
    await this.#director?.stop();
  }

  /** Registered before it is known whether the machine can boot a system, so it asks when it runs. */
  test(title: string, act: () => Promise<void>): void {
    test(title, { timeout: 120_000 }, async (t) => {
      if (this.#unable === undefined) await act();
      else t.skip(this.#unable);
    });
  }

  readonly demand = async (program: string, ...args: readonly string[]): Promise<string> => {
    const { exit, stdout, stderr } = await this.system.run(program, ...args);
    const said = `${[program, ...args].join(' ')}\n${stdout}${stderr}`;
    assert.equal(exit, 0, `${said}${await this.journal()}`);
    return stdout.trim();
  };

  readonly journal = async (): Promise<string> => {
    const args = ['-o', 'cat', '-n', '40', '--no-pager'];
    return (await this.system.run('journalctl', ...args)).stdout;
  };

  readonly property = (name: string, unit = 'ota-agent'): Promise<string> =>
    this.demand('systemctl', 'show', unit, '--value', '-p', name);

  readonly until = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    const deadline = performance.now() + UNTIL_MS;
    while (!(await holds())) {
      assert.ok(performance.now() < deadline, `never happened: ${what}\n${await this.journal()}`);
      await sleep(100);
    }
  };

  async publish(name: string, content: Buffer, hardwareId: string): Promise<void> {
    const path = join(this.#directory, name);
    writeFileSync(path, content);
    await this.director.publish({ path, name, hardwareIds: [hardwareId], version: name });
  }

  readonly assign = async (name: string, content: Buffer): Promise<void> => {
    await this.publish(name, content, 'gateway');
    await this.director.assign('device-1', name);
  };

  readonly untilInstalled = async (
    content: Buffer,
    path = '/var/lib/ota-agent/app.img',
  ): Promise<void> => {
    const digest = createHash('sha256').update(content).digest('hex');
    await this.until('the update', async () => {
      const { stdout } = await this.system.run('sha256sum', path);
      return stdout.startsWith(digest);
    });
  };

  /** Bytes of an image that is not there as a whole. */
  readonly partial = async (storage: string): Promise<number> => {
    const count = `cat ${storage}/staging/*.part | wc -c`;
    return Number((await this.system.run('sh', '-c', count)).stdout);
  };

  readonly exists = async (path: string): Promise<boolean> =>
    (await this.system.run('test', '-e', path)).exit === 0;

  /** By systemd's own clock: from the order to stop until nothing of the unit is left. */
  readonly demandStopped = async (): Promise<void> => {
    await this.demand('systemctl', 'stop', 'ota-agent');
    const [from, to] = [
      Number(await this.property('ActiveExitTimestampMonotonic')),
      Number(await this.property('InactiveEnterTimestampMonotonic')),
    ];
    assert.ok(to - from < STOP_US, `took ${String(to - from)} µs`);
    assert.equal(await this.property('Result'), 'success');
    assert.equal(await this.property('ExecMainStatus'), '0');
  };
}
