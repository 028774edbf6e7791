/**
 * Power failure at every block write: a whole update is recorded on each board, and every state that the
 * disk may be left in is looked at. `npm run power-blocks` prints the table; README.md has its options.
 *
 * Ends with 1 if any state is not as it has to be, and says which.
 */
import { countGiven, programOptions } from '../../support/program-options.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { BOARDS } from './boards.ts';
import { converge } from './convergence.ts';
import { MODES } from './crash-states.ts';
import { BlockDevice } from './device.ts';
import { loggedDiskProblem } from './logged-disk.ts';
import { recordCycle, type Recording } from './recording.ts';
import { replay, type Extent, type Replayed } from './replay.ts';

interface Wanted extends Extent {
  readonly cycles: readonly string[];
  /** With each N-th state that is as it has to be, the agent goes on. */
  readonly converge: number;
}

interface Row extends Replayed {
  readonly board: string;
  readonly cycle: string;
  readonly converged: number;
}

/** What an update consists of: it is written and chosen, and then found good. */
const CYCLES = ['update', 'trial'];
const USAGE = `usage: npm run power-blocks -- [options]

  --board NAME     may be repeated; all by default: ${Object.keys(BOARDS).join(', ')}
  --cycle NAME     may be repeated; all by default: ${CYCLES.join(', ')}
  --every N        looks at every N-th state only (1)
  --converge N     from every N-th state the agent goes on (10)
  --singles N      states with one write that was not flushed, per flush (3)
  --mixtures N     states with some of them, per flush (2)
  --seed N         of what is drawn (1)`;

const ENDS: Readonly<Record<string, string>> = { update: 'reboot-required', trial: 'installed' };

/** @throws Error for a name that is none */
function numberOf(cycle: string): number {
  const number = CYCLES.indexOf(cycle);
  if (number < 0) throw new Error(`no such cycle: ${cycle}`);
  return number;
}

async function rowOf(
  device: BlockDevice,
  board: string,
  recording: Recording,
  wanted: Wanted,
): Promise<Row> {
  let good = 0;
  let converged = 0;
  const replayed = await replay(device, recording, wanted, async (disk, { at }) => {
    good += 1;
    if (good % wanted.converge !== 0) return undefined;
    const problem = await converge(
      device,
      disk,
      recording.marks.findLast((mark) => mark.at <= at),
    );
    if (problem === undefined) converged += 1;
    return problem;
  });
  return { ...replayed, board, cycle: recording.name, converged };
}

/** Files are in memory: a disk here would be asked to keep what the disk there forgets. */
async function rowsOf(board: string, wanted: Wanted): Promise<readonly Row[]> {
  const temporary = temporaryDirectory('blocks');
  try {
    const device = new BlockDevice(temporary.path, board);
    await device.make();
    const recordings: Recording[] = [];
    for (const name of CYCLES.slice(0, 1 + Math.max(...wanted.cycles.map(numberOf)))) {
      const recording = await recordCycle(device, board, name);
      const { outcome } = recording;
      if (outcome !== ENDS[name]) throw new Error(`${board}: the ${name} ended with ${outcome}`);
      if (wanted.cycles.includes(name)) recordings.push(recording);
      await device.boot();
    }
    const rows: Row[] = [];
    for (const recording of recordings) rows.push(await rowOf(device, board, recording, wanted));
    return rows;
  } finally {
    temporary.remove();
  }
}

function format(rows: readonly Row[]): string {
  const head = ['board', 'cycle', 'writes', 'flushes', ...MODES, 'converged', 'failed'];
  const lines = rows.map(({ board, cycle, writes, flushes, states, converged, problems }) =>
    [
      board,
      cycle,
      writes,
      flushes,
      ...MODES.map((mode) => states.get(mode) ?? 0),
      converged,
    ].concat(problems.length),
  );
  const table = [head, ...lines].map((row) => row.map(String));
  const widths = head.map((_, at) => Math.max(...table.map((row) => row[at]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

async function main(): Promise<number> {
  const values = programOptions(USAGE, {
    board: { type: 'string', multiple: true, default: Object.keys(BOARDS) },
    cycle: { type: 'string', multiple: true, default: CYCLES },
    every: { type: 'string', default: '1' },
    converge: { type: 'string', default: '10' },
    mixtures: { type: 'string', default: '2' },
    singles: { type: 'string', default: '3' },
    seed: { type: 'string', default: '1' },
  });
  const [every, convergeEvery, mixtures, singles, seed] = (
    ['every', 'converge', 'mixtures', 'singles', 'seed'] as const
  ).map((name) => countGiven(name, values[name], USAGE)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const problem = loggedDiskProblem();
  if (problem !== undefined) throw new Error(problem);
  process.env['TMPDIR'] = '/dev/shm';
  const counts = { every, converge: convergeEvery, mixtures, singles, seed };
  const wanted = { ...counts, cycles: values.cycle };
  const rows: Row[] = [];
  for (const board of values.board) {
    const own = await rowsOf(board, wanted);
    rows.push(...own);
    const problems = own.flatMap((row) => row.problems.map((one) => `${board}: ${one}\n`));
    process.stderr.write(problems.join(''));
  }
  process.stdout.write(`states that the disk was left in, by mode:\n${format(rows)}\n`);
  return rows.some(({ problems }) => problems.length > 0) ? 1 : 0;
}

process.exitCode = await main();
