/** Which slot holds what, from the agent's record and RAUC's slots together. Pure. */
import type { Target } from '../../../uptane/plan.ts';
import type { Begun, Installed, SlotRecord } from './record.ts';
import { stampOf, type Slot, type Slots } from './slots.ts';

/** Bound to the content: a slot must not count as good for another image. */
export function imageId(target: Target): string {
  const [entry] = target.hashes;
  return entry === undefined ? '' : `${entry[0]}:${entry[1]}`;
}

/**
 * Whether a slot holds what was installed for `target`, and nobody has installed there since.
 *
 * @param stamp - of the slot, now
 */
export function holds(noted: Installed | undefined, target: Target, stamp: string): boolean {
  return noted?.image === imageId(target) && noted.stamp === stamp;
}

/** What is to be undone where `target` runs; `undefined` where it does not. */
export function ranBefore(
  { slots: noted, begun }: SlotRecord,
  target: Target,
  { booted, all }: Slots,
): (Begun & { readonly confirmed: boolean }) | undefined {
  const runs = noted[booted.name];
  if (runs !== undefined && holds(runs, target, stampOf(booted, all))) return runs;
  // RAUC may have chosen by itself what it had installed.
  const isBegun = begun?.image === imageId(target) && begun.from !== booted.name;
  return isBegun ? { ...begun, confirmed: false } : undefined;
}

/**
 * The slot that ran before, if it still holds what ran there.
 *
 * @throws Error if it does not
 */
export function previous({ from, stamps }: Begun, { others, all }: Slots): Slot {
  const slot = others.find(({ name }) => name === from);
  if (slot === undefined) throw new Error(`there is no image to go back to: no slot ${from}`);
  if (slot.bootStatus === 'bad' || stampOf(slot, all) !== stamps[from]) {
    throw new Error(`there is no image to go back to: slot ${from} holds none that ran`);
  }
  return slot;
}

/** The part of the record that a failed installation has not made wrong. */
export function untouched(
  noted: SlotRecord['slots'],
  before: Slots,
  after: Slots,
): SlotRecord['slots'] {
  // RAUC marks a slot bad before its first byte changes.
  const isGood = ({ others }: Slots, name: string): boolean =>
    others.some((slot) => slot.name === name && slot.bootStatus === 'good');
  return Object.fromEntries(
    Object.entries(noted).filter(
      ([name]) => name === after.booted.name || (isGood(before, name) && isGood(after, name)),
    ),
  );
}
