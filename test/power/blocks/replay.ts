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
import { believedAt, Examiner, problemsOf, type Belief, type Finding } from './examination.ts';
import { DATA, isIn, regionOf, SLOTS } from './layout.ts';
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

/** @param visit - called with each disk that is as it has to be */
export async function replay(
  device: BlockDevice,
  recording: Recording,
  extent: Extent,
  visit: (disk: Buffer, state: CrashState, finding: Finding) => Promise<string | undefined>,
): Promise<Replayed> {
  const { entries, marks, name } = recording;
  const beliefs = await believedAt(device.board, marks);
  const examiner = new Examiner(device);
  const states = new Map<Mode, number>(MODES.map((mode) => [mode, 0]));
  const problems = [...untouched(recording)];
  const disk = Buffer.from(recording.before);
  let applied = 0;
  let seen = 0;
  let last: { readonly data: Buffer; readonly finding: Finding } | undefined;
  try {
    for (const state of crashStates(entries, extent)) {
      for (; applied < state.from; applied += 1) {
        const entry = entries[applied];
        if (entry !== undefined) apply(disk, entry);
      }
      seen += 1;
      if (seen % extent.every !== 0) continue;
      states.set(state.mode, (states.get(state.mode) ?? 0) + 1);
      const crashed = diskAt(disk, state);
      const where = `${name}: ${state.mode} at ${String(state.at)} of ${String(entries.length)}`;
      try {
        const data = regionOf(crashed, DATA);
        // What changed only a slot leaves the file system as it was.
        const finding =
          last?.data.equals(data) === true ? last.finding : await examiner.find(crashed);
        last = { data, finding };
        const found = problemsOf(finding, crashed, expectedAt(recording, beliefs, state.at));
        const visited = found.length > 0 ? undefined : await visit(crashed, state, finding);
        problems.push(
          ...[...found, ...(visited === undefined ? [] : [visited])].map(
            (one) => `${where}: ${one}`,
          ),
        );
      } catch (error) {
        problems.push(`${where}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  } finally {
    examiner.close();
  }
  const flushes = entries.filter((entry) => entry === undefined).length;
  return { writes: entries.length - flushes, flushes, states, problems };
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
