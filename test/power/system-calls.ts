/**
 * Faults at every system call of an update that changes storage, as a table: `npm run power-fail`.
 *
 * Ends with 1 if after any fault the device did not converge, and says which.
 */
import { availableParallelism } from 'node:os';

import { problemOf } from '../crash/matrix.ts';
import { sampleOf } from '../crash/sample.ts';
import { useMemory } from '../support/ostree-device.ts';
import { countGiven, programOptions } from '../support/program-options.ts';
import { disturbAt, FAULTS, sitesOf, type Disturbed } from './faults.ts';

const USAGE = `usage: npm run power-fail -- [options]

  --scenario NAME   of test/crash; may be repeated (ab-slot, directory, command)
  --every N         takes every N-th call only, and the faults in turn (1)
  --jobs N          devices at a time (as many as there are processors)`;

/** By fault: how many there were, and how they ended. */
interface Count {
  tried: number;
  new: number;
  old: number;
  readonly failures: string[];
}

/** An agent that is told of a fault must say so in its own words. */
export function problemAfter(after: Disturbed): string | undefined {
  const unclear = after.complaint !== '' && !/OtaError: (?!BUG)/u.test(after.complaint);
  return problemOf(after) ?? (unclear ? `ended with ${after.complaint}` : undefined);
}

/** @param every - takes each N-th call only, and the faults in turn */
async function countsOf(
  scenario: string,
  every: number,
  jobs: number,
): Promise<Map<string, Count>> {
  const chosen = sampleOf(await sitesOf(scenario), FAULTS, every);
  const counts = new Map<string, Count>();
  const work = async (): Promise<void> => {
    for (let one = chosen.shift(); one !== undefined; one = chosen.shift()) {
      const key = `${one.call} ${one.fault}`;
      const count = counts.get(key) ?? { tried: 0, new: 0, old: 0, failures: [] };
      counts.set(key, count);
      count.tried += 1;
      const after = await disturbAt(scenario, one).catch(messageOf);
      const problem = typeof after === 'string' ? after : problemAfter(after);
      const where = `${scenario}: ${one.fault} at ${one.call} ${String(one.when)} of ${one.path} in cycle ${String(one.cycle)}`;
      if (problem !== undefined) count.failures.push(`${where}: ${problem}`);
      else if (typeof after !== 'string' && after.running.includes('old')) count.old += 1;
      else count.new += 1;
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return counts;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(): Promise<number> {
  const values = programOptions(USAGE, {
    scenario: { type: 'string', multiple: true, default: ['ab-slot', 'directory', 'command'] },
    every: { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
  });
  const every = countGiven('every', values.every, USAGE);
  const jobs = countGiven('jobs', values.jobs, USAGE);
  useMemory();
  let failed = 0;
  for (const scenario of values.scenario) {
    const counts = await countsOf(scenario, every, jobs);
    process.stdout.write(`${scenario}: tried, to the new image, to the old, failed\n`);
    for (const [key, { tried, new: toNew, old, failures }] of [...counts].sort()) {
      process.stdout.write(`  ${key}: ${[tried, toNew, old, failures.length].join(', ')}\n`);
      process.stderr.write(failures.map((failure) => `${failure}\n`).join(''));
      failed += failures.length;
    }
  }
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main();
