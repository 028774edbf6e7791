/**
 * What may be on a disk after power failed.
 *
 * A disk has what it was told to flush. Of what it got after that, it may have anything: all of it in
 * order (`prefix`), half of the last write (`torn`), none of it (`lost`), or any of its sectors
 * (`dropped`, `alone`, `mixed`).
 */
import { SECTOR_BYTES, type Entry, type Write } from './block-log.ts';

export const MODES = ['prefix', 'torn', 'lost', 'dropped', 'alone', 'mixed'] as const;
export type Mode = (typeof MODES)[number];

export interface CrashState {
  readonly mode: Mode;
  /** How many entries of the log the disk had got. */
  readonly at: number;
  /** What of it is on the disk, oldest first; `from` entries are all there. */
  readonly from: number;
  readonly kept: readonly Write[];
}

export interface Harshness {
  /** Random mixtures for each flush. */
  readonly mixtures: number;
  /** Writes of one flush that are dropped, or kept, alone: at most so many of each. */
  readonly singles: number;
  readonly seed: number;
}

/** Every write and every flush of `entries` is a point at which power fails. */
export function* crashStates(
  entries: readonly Entry[],
  { mixtures, singles, seed }: Harshness,
): Generator<CrashState> {
  const random = randomOf(seed);
  let from = 0;
  let pending: Write[] = [];
  for (let at = 0; at <= entries.length; at += 1) {
    const entry = entries[at];
    yield { mode: 'prefix', at, from, kept: pending };
    if (entry !== undefined) {
      const half = halfOf(entry);
      if (half !== undefined) yield { mode: 'torn', at: at + 1, from, kept: [...pending, half] };
      pending = [...pending, entry];
      continue;
    }
    if (pending.length > 0) {
      yield { mode: 'lost', at, from, kept: [] };
      yield* picked(pending, { at, from }, singles);
      for (let mixture = 0; mixture < mixtures; mixture += 1) {
        const kept = pending.flatMap((write) => sectorsOf(write, () => random() < 0.5));
        yield { mode: 'mixed', at, from, kept };
      }
    }
    // The disk has said that it has all of it.
    from = at + 1;
    pending = [];
  }
}

function* picked(
  pending: readonly Write[],
  where: Pick<CrashState, 'at' | 'from'>,
  singles: number,
): Generator<CrashState> {
  if (pending.length < 2) return;
  const step = Math.max(1, Math.ceil(pending.length / singles));
  for (let index = 0; index < pending.length; index += step) {
    yield { mode: 'dropped', ...where, kept: pending.filter((_, other) => other !== index) };
    yield { mode: 'alone', ...where, kept: pending.filter((_, other) => other === index) };
  }
}

/** The disk as it is then; `before` is how it was after `state.from` entries, and stays so. */
export function diskAt(before: Buffer, { kept }: CrashState): Buffer {
  const disk = Buffer.from(before);
  for (const write of kept) apply(disk, write);
  return disk;
}

export function apply(disk: Buffer, { offsetBytes, data }: Write): void {
  data.copy(disk, offsetBytes);
}

function halfOf({ offsetBytes, data }: Write): Write | undefined {
  const sectors = Math.floor(data.length / SECTOR_BYTES / 2);
  return sectors === 0
    ? undefined
    : { offsetBytes, data: data.subarray(0, sectors * SECTOR_BYTES) };
}

function sectorsOf({ offsetBytes, data }: Write, isKept: () => boolean): Write[] {
  const kept: Write[] = [];
  for (let at = 0; at < data.length; at += SECTOR_BYTES) {
    const sector = data.subarray(at, at + SECTOR_BYTES);
    if (isKept()) kept.push({ offsetBytes: offsetBytes + at, data: sector });
  }
  return kept;
}

/** Mulberry32: a failure is found again with the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
