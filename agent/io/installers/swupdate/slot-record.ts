/**
 * What each slot holds, as the agent knows it: kept apart from the boot environment, which says what
 * is chosen and not what is there.
 */
import { readFile } from 'node:fs/promises';

import type { Target } from '../../../uptane/plan.ts';
import { replaceFile } from '../../durable-file.ts';

export type Slot = 'a' | 'b';

interface SlotContent {
  /** `writing`: spoiled, or not known. `written`: proven, not yet run. `good`: it ran and was kept. */
  readonly state: 'writing' | 'written' | 'good';
  /** Digest of the .swu that it came from; absent where the agent did not write it. */
  readonly image: string | undefined;
}

export type SlotRecord = Readonly<Record<Slot, SlotContent>>;

const UNKNOWN: SlotContent = { state: 'writing', image: undefined };
const LINE = /^([ab]) (writing|written|good)(?: ([a-z0-9]+:[0-9a-f]+))?$/u;

/**
 * Nothing is known of either slot where there is no record yet.
 *
 * @throws Error if it is not a record
 */
export async function readRecord(path: string): Promise<SlotRecord> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  });
  const record = { a: UNKNOWN, b: UNKNOWN };
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, slot, state, image] = LINE.exec(line) ?? [];
    if (slot === undefined) {
      const remedy = 'remove it: what runs stays, and there is then nothing to go back to';
      throw new Error(`${path} is no record of slots: ${JSON.stringify(line)}; ${remedy}`);
    }
    record[slot as Slot] = { state: state as SlotContent['state'], image };
  }
  return record;
}

export async function writeRecord(path: string, record: SlotRecord): Promise<void> {
  const lines = (['a', 'b'] as const).map((slot) => {
    const { state, image } = record[slot];
    return `${slot} ${state}${image === undefined ? '' : ` ${image}`}\n`;
  });
  await replaceFile(path, lines.join(''));
}

/** Bound to the content, not to a name. */
export function imageId(target: Target): string {
  const [entry] = target.hashes;
  return entry === undefined ? '' : `${entry[0]}:${entry[1]}`;
}
