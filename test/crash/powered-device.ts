/** A device that is switched on, with its services; the agent is a process that comes and goes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { boot, prepare } from './crash-device.ts';
import type { Running, Scenario, Services } from './scenario.ts';
import { scenarioOf } from './scenarios.ts';

const CYCLE = join(import.meta.dirname, 'cycle-main.ts');
const CACHE = { NODE_COMPILE_CACHE: join(import.meta.dirname, '../.cache/compile') };

export interface Cycle {
  /** `undefined` where it was killed. */
  readonly outcome: string | undefined;
  readonly points: readonly string[];
}

/** How a process ended, and what it wrote. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly said: string;
  readonly complained: string;
}

export class PoweredDevice {
  readonly directory: string;
  readonly #name: string;
  readonly #scenario: Scenario;
  #services: Services | undefined;

  private constructor(name: string, directory: string) {
    this.directory = directory;
    this.#name = name;
    this.#scenario = scenarioOf(name);
  }

  static async make(scenario: string, directory: string): Promise<PoweredDevice> {
    const device = new PoweredDevice(scenario, directory);
    await prepare(directory, device.#scenario);
    await device.#start();
    return device;
  }

  /** One cycle in another process; `point` is where it is killed. */
  async runCycle(point?: {
    readonly name: string;
    readonly moment: 'before' | 'after';
  }): Promise<Cycle> {
    const at = point === undefined ? [] : [point.name, point.moment];
    const { code, signal, said, complained } = await this.#spawn([], at, {});
    if (signal === 'SIGKILL' && point !== undefined) return { outcome: undefined, points: [] };
    if (code !== 0)
      throw new Error(`the cycle ended with ${String(signal ?? code)}: ${complained}`);
    return JSON.parse(said) as Cycle;
  }

  /** One cycle under a program that disturbs it. */
  runCycleUnder(program: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
    return this.#spawn(program, [], env);
  }

  async #spawn(
    program: readonly string[],
    at: readonly string[],
    env: NodeJS.ProcessEnv,
  ): Promise<Ended> {
    const command = [...program, process.execPath, CYCLE, this.#name, this.directory, ...at];
    const child = spawn(command[0] ?? '', command.slice(1), {
      env: { ...process.env, ...CACHE, ...this.#services?.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    });
    let said = '';
    let complained = '';
    child.stdout.on('data', (part: Buffer) => (said += part.toString()));
    child.stderr.on('data', (part: Buffer) => (complained += part.toString()));
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    return { code, signal, said, complained };
  }

  /** Power is lost, services and all, and comes back. */
  async reboot(): Promise<void> {
    await this.switchOff();
    await boot(this.directory, this.#scenario);
    await this.#start();
  }

  async switchOff(): Promise<void> {
    const services = this.#services;
    this.#services = undefined;
    await services?.stop();
  }

  /** The ECUs, in the order of `running`. */
  get serials(): readonly string[] {
    return this.#scenario.ecus.map(({ serial }) => serial);
  }

  /** What each ECU runs after so many boots in which no agent ran. */
  async runningAfter(boots: number): Promise<Running[]> {
    await this.switchOff();
    for (let count = 0; count < boots; count += 1) await boot(this.directory, this.#scenario);
    await this.#start();
    return this.running();
  }

  /** What each ECU runs. */
  running(): Promise<Running[]> {
    const at = join(this.directory, 'device');
    const { ecus } = this.#scenario;
    return Promise.all(ecus.map(async ({ serial }) => this.#scenario.running(at, serial)));
  }

  async #start(): Promise<void> {
    this.#services = await this.#scenario.start?.(join(this.directory, 'device'));
  }
}
