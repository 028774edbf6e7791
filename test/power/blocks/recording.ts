/** Records what a whole update writes to the disk, one cycle of the agent at a time. */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { Entry } from './block-log.ts';
import { slotIn, type Slot } from './boards.ts';
import { mount, unmount, type BlockDevice } from './device.ts';
import { DATA, isIn, MARKS, SLOTS } from './layout.ts';
import { logDisk, type LoggedDisk } from './logged-disk.ts';

/** One cycle. */
export interface Recording {
  readonly name: string;
  /** The disk before it. */
  readonly before: Buffer;
  /** The slot that runs meanwhile. */
  readonly running: Slot;
  readonly entries: readonly Entry[];
  readonly marks: readonly Mark[];
  readonly outcome: string;
}

/** What had ended when the disk had got so many entries. */
export interface Mark {
  readonly at: number;
  readonly name: string;
  /** Copies of what was believed then. */
  readonly directory: string;
}

const CYCLE = join(import.meta.dirname, 'cycle-main.ts');
const CACHE = { NODE_COMPILE_CACHE: join(import.meta.dirname, '../../.cache/compile') };
const run = promisify(execFile);
const TIMEOUT_MS = 60_000;

/** @param name - of what the cycle is about; files are kept under it */
export async function recordCycle(
  device: BlockDevice,
  boardName: string,
  name: string,
): Promise<Recording> {
  const before = readFileSync(device.disk);
  const running = slotIn(device.outside);
  const kept = device.at(name);
  mkdirSync(kept);
  const marks = device.at('marks');
  rmSync(marks, { force: true });
  mkdirSync(join(kept, 'marks'));
  symlinkSync(join(kept, 'marks'), marks);
  const disk = await logDisk(kept, device.disk);
  let outcome: string;
  let log: readonly Entry[];
  try {
    outcome = await cycleOn(disk, device, boardName);
  } finally {
    log = await disk.close();
  }
  return { name, before, running, outcome, ...withoutMarks(log, join(kept, 'marks')) };
}

async function cycleOn(disk: LoggedDisk, device: BlockDevice, boardName: string): Promise<string> {
  for (const [slot, region] of Object.entries(SLOTS)) {
    const path = join(device.outside, `slot-${slot}`);
    rmSync(path, { force: true });
    symlinkSync(disk.attach(region), path);
  }
  mount(disk.attach(DATA), device.root);
  try {
    const args = [CYCLE, boardName, device.at(''), disk.path];
    const env = { ...process.env, ...CACHE };
    return (await run(process.execPath, args, { env, timeout: TIMEOUT_MS })).stdout;
  } finally {
    unmount(device.root);
  }
}

function withoutMarks(
  log: readonly Entry[],
  directory: string,
): Pick<Recording, 'entries' | 'marks'> {
  const entries: Entry[] = [];
  const marks: Mark[] = [];
  for (const entry of log) {
    if (entry === undefined || !isIn(MARKS, entry.offsetBytes)) {
      entries.push(entry);
      continue;
    }
    const [number = '', name = ''] = entry.data.toString('latin1').split(/[ \0]/u);
    marks.push({ at: entries.length, name, directory: join(directory, number) });
  }
  return { entries, marks };
}
