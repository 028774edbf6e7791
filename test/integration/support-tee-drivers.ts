/** Builds and runs the C programs of test/tee/normal-world/test, alone or against a fake world. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, before, beforeEach } from 'node:test';

import { FakeWorld } from './support-tee-fake-world.ts';

const NORMAL_WORLD = join(import.meta.dirname, '../tee/normal-world');
export const BUILD = join(import.meta.dirname, '../tee/build');

/** `debug` and `sanitized` check every return code of Cryptoki. */
export type Variant = 'plain' | 'debug' | 'sanitized';

const VARIANTS: Readonly<Record<Variant, { readonly folder: string; readonly make: string }>> = {
  plain: { folder: '.', make: '' },
  debug: { folder: 'debug', make: 'DEBUG=1' },
  sanitized: { folder: 'san', make: 'SANITIZE=1' },
};

export type Driver = 'teec-driver' | 'teec-driver-abi1' | 'cryptoki-driver';

/** Test files run at the same time: one of them builds, the others wait. */
export function buildDrivers(variant: Variant): void {
  mkdirSync(BUILD, { recursive: true });
  const make = ['make', '-s', '-C', NORMAL_WORLD, 'test-drivers', VARIANTS[variant].make];
  execFileSync('flock', [join(BUILD, 'lock'), ...make.filter(Boolean)], {
    stdio: 'pipe',
    timeout: 300_000,
  });
}

export interface Run {
  /** One line of answer for each line of the script. */
  readonly lines: readonly string[];
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How to run something, beside the script. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** A program, with its arguments, that runs the driver. */
  readonly under?: readonly string[];
}

/**
 * Runs `script` in a process of its own.
 *
 * A driver that hangs is killed after `timeoutMs` and has no exit code.
 */
export async function runDriver(
  driver: Driver,
  variant: Variant,
  script: readonly string[],
  { env = {}, timeoutMs = 30_000, under = [] }: RunOptions,
): Promise<Run> {
  const path = join(BUILD, VARIANTS[variant].folder, driver);
  const [program, ...args] = [...under, path];
  const child = spawn(program, args, { env: { ...process.env, ...env }, timeout: timeoutMs });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(script.map((line) => `${line}\n`).join(''));
  await once(child, 'close');
  return {
    lines: stdout.split('\n').slice(0, -1),
    stderr,
    exitCode: child.exitCode,
    signal: child.signalCode,
  };
}

export interface RunningDriver {
  /** Does one line of a script and gives the line that it prints. */
  call(line: string): Promise<string>;
  end(): Promise<void>;
}

/** A sanitized driver that is told what to do line by line. */
export function startDriver(driver: Driver, env: Readonly<Record<string, string>>): RunningDriver {
  const child = spawn(join(BUILD, 'san', driver), {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: 60_000,
  });
  const closed = once(child, 'close');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    call: async (line) => {
      child.stdin.write(`${line}\n`);
      const next = await lines.next();
      if (next.done === true) throw new Error(`${driver} ended at: ${line}`);
      return next.value;
    },
    end: async () => {
      child.stdin.end();
      await closed;
    },
  };
}

/** A fake world for each test of the suite that calls this, and one driver that talks to it. */
export class DriverSuite {
  readonly #driver: Driver;
  #world: FakeWorld | undefined;

  constructor(driver: Driver) {
    this.#driver = driver;
    before(() => {
      buildDrivers('sanitized');
    });
    beforeEach(async () => {
      this.#world = new FakeWorld();
      await this.#world.listen();
    });
    afterEach(async () => {
      await this.#world?.close();
    });
  }

  /** The world of the test that runs. */
  get world(): FakeWorld {
    if (this.#world === undefined) throw new Error('there is a world in a test only');
    return this.#world;
  }

  /**
   * Runs `script` under the sanitizers; resolves when the world has seen all of it.
   *
   * A sanitizer's report is on stderr and changes the status; a hang has no status.
   */
  async run(script: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
    const result = await runDriver(this.#driver, 'sanitized', script, {
      env: { OTA_TEE_SOCKET: this.world.socketPath, ...env },
      timeoutMs: 60_000,
    });
    assert.deepEqual([result.stderr, result.exitCode], ['', 0]);
    await this.world.drained();
    return result;
  }

  /** The frames of one opcode, in hexadecimal. */
  sent(opcode: number): string[] {
    return this.world.frames
      .filter((asked) => asked.opcode === opcode)
      .map(({ bytes }) => bytes.toString('hex'));
  }
}
