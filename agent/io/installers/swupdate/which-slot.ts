/** Which slot runs, and which one may be written. */
import { readFile, realpath } from 'node:fs/promises';

import type { Selection } from './control-messages.ts';
import type { Slot } from './slot-record.ts';

export interface SlotsSettings {
  readonly softwareSet: string;
  readonly slots: Readonly<Record<Slot, SlotSettings>>;
  /** File with the word that says which slot runs, such as the kernel's command line. */
  readonly bootedPath: string;
}

export interface SlotSettings {
  /** Of the software set, in sw-description: what it writes goes to this slot. */
  readonly mode: string;
  /** All that this mode may write; the first is the one that makes it this slot. */
  readonly devices: readonly string[];
  /** Stands in the file at `bootedPath` when this slot runs. */
  readonly bootedWord: string;
}

/** The slot that does not run, and how SWUpdate is asked to write it. */
interface FreeSlot {
  readonly booted: Slot;
  readonly slot: Slot;
  readonly selection: Selection;
  readonly devices: readonly string[];
}

/** @throws Error if the file names no slot, or both */
export async function bootedSlot({ bootedPath, slots }: SlotsSettings): Promise<Slot> {
  const words = (await readFile(bootedPath, 'utf8')).split(/\s+/u);
  const [a, b] = [words.includes(slots.a.bootedWord), words.includes(slots.b.bootedWord)];
  if (a !== b) return a ? 'a' : 'b';
  const problem = a ? 'names both slots' : 'names no slot';
  throw new Error(
    `${bootedPath} ${problem}: want either "${slots.a.bootedWord}" or "${slots.b.bootedWord}"`,
  );
}

/**
 * Never the one that runs, by whatever name its devices go.
 *
 * @throws Error if that cannot be told
 */
export async function freeSlot(settings: SlotsSettings): Promise<FreeSlot> {
  const { slots, softwareSet } = settings;
  const booted = await bootedSlot(settings);
  const slot = booted === 'a' ? 'b' : 'a';
  const { mode, devices } = slots[slot];
  const running = await Promise.all(slots[booted].devices.map((path) => realpath(path)));
  for (const path of devices) {
    if (!running.includes(await realpath(path))) continue;
    throw new Error(`${path} is a device of both slots: each needs its own`);
  }
  return { booted, slot, selection: { set: softwareSet, mode }, devices };
}
