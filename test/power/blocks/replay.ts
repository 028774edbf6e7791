/** Goes through all that may be on the disk after power failed at any point of a recording. */
import {
  apply,
  crashStates,
  diskAt,
  MODES,
  type CrashState,
  type Harshness,
  type Mode,
} from './crash-states.ts';
import type { BlockDevice } from './device.ts';
import { believedAt, Examiner, problemsOf, type Belief } from './examination.ts';
import { isIn, SLOTS } from './layout.ts';
import type { Recording } from './recording.ts';

export interface Replayed {
  readonly writes: number;
  readonly flushes: number;
  /** States that were looked at. */
  readonly states: ReadonlyMap<Mode, number>;
  readonly problems: readonly string[];
}

export interface Extent extends Harshness {
  /** Each N-th state only. */
  readonly every: number;
}

/** With each disk that is as it has to be; says what is wrong nevertheless. */
export type Visit = (disk: Buffer, state: CrashState) => Promise<string | undefined>;

export async function replay(
  device: BlockDevice,
  recording: Recording,
  extent: Extent,
  visit: Visit,
): Promise<Replayed> {
  const { entries, marks, name } = recording;
  const beliefs = await believedAt(device.board, marks);
  const examiner = new Examiner(device);
  const states = new Map<Mode, number>(MODES.map((mode) => [mode, 0]));
  const problems = [...untouched(recording)];
  try {
    for (const [state, disk] of crashedDisks(recording, extent)) {
      states.set(state.mode, (states.get(state.mode) ?? 0) + 1);
      const expected = expectedAt(recording, beliefs, state.at);
      const found = await examine(examiner, disk, expected, () => visit(disk, state));
      const where = `${name}: ${state.mode} at ${String(state.at)} of ${String(entries.length)}`;
      problems.push(...found.map((one) => `${where}: ${one}`));
    }
  } finally {
    examiner.close();
  }
  const flushes = entries.filter((entry) => entry === undefined).length;
  return { writes: entries.length - flushes, flushes, states, problems };
}

function* crashedDisks(
  { before, entries }: Recording,
  extent: Extent,
): Generator<readonly [CrashState, Buffer]> {
  const disk = Buffer.from(before);
  let applied = 0;
  let seen = 0;
  for (const state of crashStates(entries, extent)) {
    for (; applied < state.from; applied += 1) {
      const entry = entries[applied];
      if (entry !== undefined) apply(disk, entry);
    }
    seen += 1;
    if (seen % extent.every === 0) yield [state, diskAt(disk, state)];
  }
}

async function examine(
  examiner: Examiner,
  disk: Buffer,
  expected: readonly Belief[],
  goOn: () => Promise<string | undefined>,
): Promise<readonly string[]> {
  try {
    const found = problemsOf(await examiner.find(disk), disk, expected);
    const further = found.length > 0 ? undefined : await goOn();
    return further === undefined ? found : [further];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

/** The slot that runs is never written, by whatever way. */
function untouched({ entries, running, name }: Recording): readonly string[] {
  return entries.flatMap((entry, at) =>
    entry !== undefined && isIn(SLOTS[running], entry.offsetBytes)
      ? [`${name}: write ${String(at)} is to slot ${running}, which runs`]
      : [],
  );
}

/** What was promised last, and what is promised next. */
function expectedAt(
  { marks }: Recording,
  beliefs: readonly Belief[],
  at: number,
): readonly Belief[] {
  const promised = marks.findLastIndex((mark) => mark.at <= at);
  return beliefs.slice(Math.max(0, promised), promised + 2);
}
