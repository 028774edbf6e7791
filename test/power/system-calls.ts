/**
 * Faults at the n-th system call that changes storage: `npm run power-fail -- [--scenario NAME]…`
 * disturbs every one of an update, lets the device go on without faults, and prints the table.
 *
 * Ends with 1 if any point did not converge, and says which.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { disturb, type Aftermath } from '../crash/crash.ts';
import { problemOf } from '../crash/matrix.ts';

export const CALLS = [
  'fsync',
  'fdatasync',
  'rename',
  'write',
  'pwrite64',
  'ftruncate',
  'unlink',
] as const;
export const FAULTS = ['signal=SIGKILL', 'error=EIO', 'error=ENOSPC'] as const;

export interface Fault {
  readonly cycle: number;
  readonly call: (typeof CALLS)[number];
  readonly fault: (typeof FAULTS)[number];
  /** Which call of its kind, from 1. */
  readonly when: number;
}

const CYCLE = join(import.meta.dirname, '../crash/cycle-main.ts');
const CYCLES = 2;

/** `killed` in the result says whether the call was there to be disturbed. */
export function disturbAt(scenario: string, at: Fault): Promise<Aftermath> {
  return disturb(scenario, at.cycle, 'rebooted', async (directory) => {
    const trace = join(directory, 'trace');
    const inject = `inject=${at.call}:${at.fault}:when=${String(at.when)}`;
    const tracer = ['-f', '-qq', '-o', trace, '-e', `trace=${at.call}`, '-e', inject];
    // One thread for files: strace counts the calls of each thread by itself.
    const env = { ...process.env, UV_THREADPOOL_SIZE: '1', NODE_DISABLE_COMPILE_CACHE: '1' };
    const command = [...tracer, process.execPath, CYCLE, scenario, directory];
    const child = spawn('strace', command, { env, stdio: 'ignore', timeout: 60_000 });
    await once(child, 'close');
    const text = readFileSync(trace, 'latin1');
    return text.includes('(INJECTED)') || text.includes('killed by SIGKILL');
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { scenario: { type: 'string', multiple: true, default: ['file', 'ab-slot'] } },
  });
  let failed = 0;
  process.stdout.write(
    'installer  cycle  call  fault: points, to the new image, to the old, failed\n',
  );
  for (const scenario of values.scenario) {
    for (let cycle = 1; cycle <= CYCLES; cycle += 1) {
      for (const call of CALLS) {
        for (const fault of FAULTS) failed += await row(scenario, { cycle, call, fault });
      }
    }
  }
  return failed === 0 ? 0 : 1;
}

/** @returns how many points did not converge */
async function row(scenario: string, kind: Omit<Fault, 'when'>): Promise<number> {
  const name = `${scenario}  ${String(kind.cycle)}  ${kind.call}  ${kind.fault}`;
  const count = { new: 0, old: 0, failed: 0 };
  let when = 1;
  for (; ; when += 1) {
    let problem: string | undefined;
    let ended: 'new' | 'old' = 'new';
    try {
      const after = await disturbAt(scenario, { ...kind, when });
      if (!after.killed) break;
      problem = problemOf(after);
      ended = after.running.every((one) => one === 'new') ? 'new' : 'old';
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (problem !== undefined) process.stderr.write(`${name} ${String(when)}: ${problem}\n`);
    count[problem === undefined ? ended : 'failed'] += 1;
  }
  const counts = [when - 1, count.new, count.old, count.failed].join(', ');
  process.stdout.write(`${name}: ${counts}\n`);
  return count.failed;
}

if (import.meta.main) process.exitCode = await main();
