/** A station with several tokens of several kinds, and `ota-agent factory` as a process to kill. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { DeviceRecord } from '../../provisioning/factory/device-record.ts';
import { startDirector, type DirectorHandle } from '../director/start.ts';
import { inChild } from './in-child.ts';
import { temporaryDirectory } from './temporary.ts';
import { emulator, softHsm, type TokenWorld } from './token-world.ts';

const MAIN = join(import.meta.dirname, '../../agent/main.ts');
const SCENARIOS = join(import.meta.dirname, '../integration/provision.scenarios.ts');
const NODE_COMPILE_CACHE = join(import.meta.dirname, '../.cache/compile');
const LONGEST_MS = 60_000;

interface Result {
  readonly exit: number;
  readonly json: {
    readonly outcome: string;
    readonly code?: string;
    readonly details?: Readonly<Record<string, unknown>>;
    readonly devices?: readonly DeviceRecord[];
  };
  readonly log: string;
}

export class FactoryBench {
  readonly director: DirectorHandle;
  readonly worlds: readonly TokenWorld[];
  readonly #directory: ReturnType<typeof temporaryDirectory>;

  private constructor(
    directory: ReturnType<typeof temporaryDirectory>,
    director: DirectorHandle,
    worlds: readonly TokenWorld[],
  ) {
    this.#directory = directory;
    this.director = director;
    this.worlds = worlds;
  }

  /** Half of the tokens are SoftHSM's, half are emulated TEEs. */
  static async open(count: number): Promise<FactoryBench> {
    const directory = temporaryDirectory('factory');
    const director = await startDirector({ stateDir: join(directory.path, 'director') });
    const kinds = Array.from({ length: count }, (_, n) => (n % 2 === 0 ? softHsm : emulator));
    const worlds = await Promise.all(kinds.map((kind) => kind.open()));
    return new FactoryBench(directory, director, worlds);
  }

  async close(): Promise<void> {
    await Promise.all(this.worlds.map((world) => world.close()));
    await this.director.stop();
    this.#directory.remove();
  }

  path(name: string): string {
    return join(this.#directory.path, name);
  }

  /** Writes a list. Devices are named with their token's number, and may be given other values. */
  list(
    name: string,
    devices: readonly (readonly [id: string, token: number, pin?: string])[],
  ): void {
    const columns = ['device_id', 'hardware_id', 'module', 'pin_file', 'so_pin_file'];
    const env = ['SOFTHSM2_CONF', 'OTA_TEE_SOCKET'];
    const lines = devices.map(([id, token, pin]) => {
      const world = this.worlds[token];
      assert.ok(world);
      const { module, pin_file: pinFile, so_pin_file: soPinFile } = world.settings;
      const values = env.map((one) => world.env[one] ?? '');
      return [id, 'imx8', module, pin ?? pinFile, soPinFile, ...values].join(',');
    });
    const header = [...columns, ...env.map((one) => `env:${one}`)].join(',');
    writeFileSync(this.path(name), `${[header, ...lines].join('\n')}\n`);
  }

  configure(name: string, mode: 'est' | 'manual'): void {
    const { enrolUrl, enrolSecretPath, caPath } = this.director;
    const est = `est_url = "${enrolUrl}"\nest_secret_file = "${enrolSecretPath}"\nest_ca = "${caPath}"`;
    writeFileSync(
      this.path(name),
      `[provisioning]\nmode = "${mode}"\n${mode === 'est' ? est : ''}\n`,
    );
  }

  async run(config: string, list: string, ...more: readonly string[]): Promise<Result> {
    return new Promise((resolve) => {
      const options = { env: this.#env(), timeout: LONGEST_MS };
      execFile(
        process.execPath,
        this.#arguments(config, list, more),
        options,
        (error, out, log) => {
          const exit = error === null ? 0 : Number(error.code);
          resolve({ exit, json: JSON.parse(out) as Result['json'], log });
        },
      );
    });
  }

  /** Ends the station with kill -9 as soon as so many devices have a record of this kind. */
  async killAt(
    config: string,
    list: string,
    isTime: (records: readonly DeviceRecord[]) => boolean,
  ): Promise<'killed' | 'finished'> {
    const child = spawn(process.execPath, this.#arguments(config, list, []), {
      env: this.#env(),
      stdio: 'ignore',
    });
    const watch = setInterval(() => {
      if (!isTime(this.records())) return;
      clearInterval(watch);
      child.kill('SIGKILL');
    }, 2);
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    clearInterval(watch);
    return signal === 'SIGKILL' ? 'killed' : 'finished';
  }

  /** What is on disk now, each of it whole. */
  records(): readonly DeviceRecord[] {
    const folder = this.path('records/devices');
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as DeviceRecord);
  }

  exported(): readonly Pick<DeviceRecord, 'deviceId' | 'ecuSerial'>[] {
    const text = readFileSync(this.path('records/public-keys.json'), 'utf8');
    return JSON.parse(text) as readonly DeviceRecord[];
  }

  /** Calls one of provision.scenarios.ts on a token. */
  async inspect(token: number, name: string): Promise<unknown> {
    const world = this.worlds[token];
    assert.ok(world);
    const outcome = await inChild(SCENARIOS, name, { settings: world.settings }, world.env);
    assert.equal(outcome.text, undefined);
    return outcome.value;
  }

  #arguments(config: string, list: string, more: readonly string[]): string[] {
    const files = ['--devices', this.path(list), '--records', this.path('records')];
    const common = ['--station', 'line-4', '--config', this.path(config), '--json'];
    return [MAIN, 'factory', ...files, ...common, ...more];
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, NODE_COMPILE_CACHE };
  }
}
