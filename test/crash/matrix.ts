/**
 * The crash matrix: every named point of every way to install, before and after it, restarted and
 * rebooted. `npm run crash-matrix` prints the table.
 *
 * Ends with 1 if any point did not converge, and says which.
 */
import { availableParallelism } from 'node:os';

import { useMemory } from '../support/ostree-device.ts';
import { countGiven, programOptions } from '../support/program-options.ts';
import { crashAt, pointsOf, type Aftermath } from './crash.ts';
import { sampleOf } from './sample.ts';
import { scenarioOf, SCENARIOS } from './scenarios.ts';

const USAGE = `usage: npm run crash-matrix -- [options]

  --scenario NAME   may be repeated; all by default: ${Object.keys(SCENARIOS).join(', ')}
  --every N         takes every N-th point only (1)
  --jobs N          devices at a time (as many as there are processors)`;

const MOMENTS = ['before', 'after'] as const;
const COMEBACKS = ['restarted', 'rebooted'] as const;

interface Row {
  readonly scenario: string;
  readonly points: number;
  /** By moment and comeback: how many converged to the new image, to the old one, and were tried. */
  readonly cells: ReadonlyMap<string, { new: number; old: number; tried: number }>;
  readonly failures: readonly string[];
}

/**
 * What must hold wherever power fails: nothing half-written ever boots, the agent knows what runs, the
 * Director is told, and only what ended well is called well.
 *
 * @returns what does not hold
 */
export function problemOf(after: Aftermath): string | undefined {
  if (!after.met) return 'the agent was not there to be killed';
  if (after.booted.includes('neither')) return `booted neither image: ${after.booted.join(' ')}`;
  if (after.running.some((one, at) => one !== after.believed[at])) {
    return `runs ${after.running.join(' ')}, believes ${after.believed.join(' ')}`;
  }
  if (after.repeated.length > 0) return `installed again: ${after.repeated.join(' ')}`;
  if (after.running.some((one, at) => one !== after.lasting[at])) {
    return `runs ${after.running.join(' ')}, and ${after.lasting.join(' ')} some boots later`;
  }
  if (after.reports.length === 0) return 'nobody was told';
  if (new Set(after.reports).size > 1) return `told ${after.reports.join(', ')}`;
  const isNew = after.running.every((one) => one === 'new');
  if (isNew !== (after.reports[0] === 'OK')) return `told ${String(after.reports[0])}`;
  return undefined;
}

const COLUMNS = MOMENTS.flatMap((moment) =>
  COMEBACKS.map((comesBack) => ({ moment, comesBack }) as const),
);

/** @param every - takes each N-th case only, for a sample */
async function rowOf(scenario: string, every: number, jobs: number): Promise<Row> {
  const points = await pointsOf(scenario);
  const cases = sampleOf(points, COLUMNS, every);
  const cells = new Map<string, { new: number; old: number; tried: number }>();
  const failures: string[] = [];
  const work = async (): Promise<void> => {
    for (let one = cases.shift(); one !== undefined; one = cases.shift()) {
      const { name, cycle, moment, comesBack } = one;
      const where = `${scenario}: ${moment} ${name} of cycle ${String(cycle)}, ${comesBack}`;
      const key = `${moment} ${comesBack}`;
      const cell = cells.get(key) ?? { new: 0, old: 0, tried: 0 };
      cells.set(key, cell);
      cell.tried += 1;
      try {
        const after = await crashAt(scenario, one, comesBack);
        const problem = problemOf(after);
        if (problem !== undefined) failures.push(`${where}: ${problem}`);
        else if (after.running.every((running) => running === 'new')) cell.new += 1;
        else cell.old += 1;
      } catch (error) {
        failures.push(`${where}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return { scenario, points: points.length, cells, failures };
}

function format(rows: readonly Row[]): string {
  const keys = COLUMNS.map(({ moment, comesBack }) => `${moment} ${comesBack}`);
  const lines = rows.map(({ scenario, points, cells, failures }) => {
    const counts = keys.map((key) => {
      const { new: toNew, old, tried } = cells.get(key) ?? { new: 0, old: 0, tried: 0 };
      return `${String(toNew)} + ${String(old)} of ${String(tried)}`;
    });
    return [scenario, String(points), ...counts, String(failures.length)];
  });
  const table = [['installer', 'points', ...keys, 'failed'], ...lines];
  const widths = table[0]?.map((_, at) => Math.max(...table.map((row) => row[at]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths?.[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

async function main(): Promise<number> {
  const values = programOptions(USAGE, {
    scenario: { type: 'string', multiple: true, default: Object.keys(SCENARIOS) },
    every: { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
  });
  const every = countGiven('every', values.every, USAGE);
  const jobs = countGiven('jobs', values.jobs, USAGE);
  useMemory();
  const rows: Row[] = [];
  for (const scenario of values.scenario) {
    const begun = performance.now();
    const problem = scenarioOf(scenario).problem?.();
    if (problem !== undefined) {
      process.stderr.write(`${scenario}: skipped: ${problem}\n`);
      continue;
    }
    const row = await rowOf(scenario, every, jobs);
    rows.push(row);
    process.stderr.write(row.failures.map((failure) => `${failure}\n`).join(''));
    const seconds = ((performance.now() - begun) / 1000).toFixed(0);
    process.stderr.write(
      `${scenario}: ${String(row.points)} points in ${seconds} s, ${String(row.failures.length)} failed\n`,
    );
  }
  process.stdout.write('converged to the new image + to the old one, of those tried:\n');
  process.stdout.write(`${format(rows)}\n`);
  return rows.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main();
