/** Powers a crashed disk up again, with the real agent, until it is at rest. */
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { runCycle } from '../../../agent/cycle/cycle.ts';
import { openPorts } from '../../crash/crash-device.ts';
import { imageIn, type BlockDevice } from './device.ts';
import { DATA, regionOf, SLOTS } from './layout.ts';
import type { Mark } from './recording.ts';
import { slotIn, type Slot } from './boards.ts';

const MAX_CYCLES = 8;

/**
 * @param mark - what the Director had been told
 * @returns what is wrong with the end of it
 */
export async function converge(
  device: BlockDevice,
  disk: Buffer,
  mark: Mark | undefined,
): Promise<string | undefined> {
  const image = device.at('data');
  writeFileSync(image, regionOf(disk, DATA));
  const slots = new Map<Slot, string>();
  for (const slot of ['a', 'b'] as const) {
    const path = join(device.outside, `slot-${slot}`);
    rmSync(path, { force: true });
    writeFileSync(path, regionOf(disk, SLOTS[slot]));
    slots.set(slot, path);
  }
  const told = device.at('world/manifests');
  rmSync(told, { force: true });
  const before = mark === undefined ? '' : join(mark.directory, 'manifests');
  if (existsSync(before)) copyFileSync(before, told);
  const running = (): string => imageIn(readFileSync(slots.get(slotIn(device.outside)) ?? ''));
  for (let cycle = 0; cycle < MAX_CYCLES; cycle += 1) {
    await device.bootFrom(image);
    if (running() === 'neither') return `boot ${String(cycle + 1)} is of no whole image`;
    const { outcome, believed } = await device.mounted(image, () => cycleIn(device));
    if (outcome !== 'up-to-date' && outcome !== 'failed-before') continue;
    return problemOf(running(), believed, readFileSync(told, 'utf8'));
  }
  return `not at rest after ${String(MAX_CYCLES)} cycles`;
}

/** The update may end either way, but all have to say the same of it. */
function problemOf(running: string, believed: string, manifests: string): string | undefined {
  if (running !== believed) return `runs the ${running} image, believes the ${believed} one`;
  const results = manifests.matchAll(/"result":\{"code":"([A-Z_]+)"/gu);
  const codes = new Set(Array.from(results, ([, code]) => code));
  if (codes.size !== 1) return `the Director was told ${[...codes].join(' and ') || 'nothing'}`;
  if (codes.has('OK') === (running === 'new')) return undefined;
  return `the Director was told ${[...codes].join()} of the ${running} image`;
}

async function cycleIn(device: BlockDevice): Promise<{ outcome: string; believed: string }> {
  const opened = await openPorts(device.root, device.scenario);
  const { ports } = opened;
  try {
    const { outcome } = await runCycle(ports);
    const [ecu] = await ports.store.inventory();
    return { outcome, believed: ecu?.installed === undefined ? 'old' : 'new' };
  } finally {
    await opened.close();
  }
}
