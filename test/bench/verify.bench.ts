/**
 * What a full verification costs, and what tuf-js's `Updater` takes for the same TUF repository.
 *
 *     node test/bench/verify.bench.ts [ROUNDS]
 *
 * No network on either side; both clients write what they believe to the same disk, taking turns.
 * Prints medians; judges nothing.
 */
import { join } from 'node:path';

import { inChild } from '../support/in-child.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  ours as oursOn,
  theirs as theirsOn,
  Vehicle,
  writeTuf,
  writeUptane,
  type Algorithm,
  type Scenario,
  type Who,
} from '../support/verify-bench-driver.ts';

const ROUNDS = Number(process.argv[2] ?? 15);
const DRIVER = join(import.meta.dirname, '../support/verify-bench-driver.ts');
const ALGORITHMS: readonly Algorithm[] = ['RSA', 'Ed25519', 'ML-DSA'];
const MEBIBYTE = 1024 ** 2;
/** tuf-js takes time by the square of what a file lists: ten thousand entries are minutes. */
const MOST_FOR_THEIRS = 2000;
/** tuf-js knows no post-quantum keys. */
const NOT_THEIRS: Algorithm = 'ML-DSA';

const SIZES = [
  { what: '1 target', targets: 1, delegations: 0 },
  { what: '20 delegations', targets: 1, delegations: 20 },
  { what: '2,000 targets', targets: 2000, delegations: 0 },
  { what: '100,000 targets', targets: 100_000, delegations: 0 },
] as const;

const rounds = ({ targets }: Scenario): number => (targets > 10_000 ? 3 : ROUNDS);

async function microseconds(act: () => unknown): Promise<number> {
  const start = performance.now();
  await act();
  return (performance.now() - start) * 1000;
}

async function uptane(directory: string): Promise<void> {
  print(['Uptane, both repositories', 'keys', 'idle poll µs', 'update µs', 'peak MiB']);
  for (const { what, ...size } of SIZES) {
    for (const algorithm of ALGORITHMS) {
      const scenario = { ...size, algorithm };
      const folder = join(directory, `uptane-${what}-${algorithm}`);
      writeUptane(folder, scenario);
      const [idle, update] = [new Vehicle(folder), new Vehicle(folder)];
      idle.settle();
      const [idles, updates]: [number[], number[]] = [[], []];
      for (let round = 0; round < rounds(scenario); round += 1) {
        updates.push(
          await microseconds(() => {
            update.verify();
          }),
        );
        idles.push(
          await microseconds(() => {
            idle.verify();
          }),
        );
      }
      const peak = await peakMebibytes(folder, 'vehicle');
      print([what, algorithm, ...[idles, updates].map((all) => median(all).toFixed(0)), peak]);
    }
  }
}

async function tuf(directory: string): Promise<void> {
  print(['TUF, one repository', 'keys', 'ours µs', 'tuf-js µs', 'ratio', 'ours MiB', 'tuf-js MiB']);
  for (const { what, ...size } of SIZES) {
    for (const algorithm of ALGORITHMS) {
      const folder = join(directory, `tuf-${what}-${algorithm}`);
      print([what, algorithm, ...(await compare(folder, { ...size, algorithm }))]);
    }
  }
}

async function compare(folder: string, scenario: Scenario): Promise<readonly string[]> {
  writeTuf(folder, scenario);
  const both = scenario.targets <= MOST_FOR_THEIRS && scenario.algorithm !== NOT_THEIRS;
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds(scenario); round += 1) {
    ours.push(await microseconds(oursOn(folder)));
    if (both) theirs.push(await microseconds(theirsOn(folder)));
  }
  const [us, them] = [median(ours), median(theirs)];
  return [
    us.toFixed(0),
    both ? them.toFixed(0) : '-',
    both ? (them / us).toFixed(1) : '-',
    await peakMebibytes(folder, 'ours'),
    both ? await peakMebibytes(folder, 'theirs') : '-',
  ];
}

async function peakMebibytes(directory: string, who: Who): Promise<string> {
  const { value, text } = await inChild(DRIVER, 'peak', { directory, who }, {});
  if (typeof value !== 'number') throw new Error(text);
  return (value / MEBIBYTE).toFixed(0);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function print([what = '', ...cells]: readonly string[]): void {
  const padded = cells.map((cell) => cell.padStart(13));
  process.stdout.write(`${what.padEnd(26)}${padded.join('')}\n`);
}

const directory = temporaryDirectory('verify-bench');
try {
  await uptane(directory.path);
  await tuf(directory.path);
} finally {
  directory.remove();
}
