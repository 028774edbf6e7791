/**
 * What is found on a disk after power failed, and what must be: the file system is whole, all that was
 * promised is there and nothing is that was not begun, and only what is whole may boot.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { Database } from '../../../agent/io/store/database.ts';
import { attachLoop, detachLoop } from '../../support/loop-device.ts';
import { TRIES, openRecord, readWithGrub, type Board, type Slot } from './boards.ts';
import { copyFiles, imageIn, mount, unmount, type BlockDevice } from './device.ts';
import { regionOf, SLOTS, DATA } from './layout.ts';
import type { Mark } from './recording.ts';

/** What an agent and a boot loader believe. */
export interface Belief {
  /** All that the agent remembers. */
  readonly state: string;
  /** What the boot loader reads. */
  readonly choice: string;
}

/** What is on the file system, by which nothing is said of the slots. */
export interface Finding extends Belief {
  /** What boots at the next power cuts, in their order, if nobody says anything. */
  readonly boots: readonly Slot[];
  /** Slots that are said to hold the new image. */
  readonly claimed: readonly Slot[];
}

export class Examiner {
  readonly #device: BlockDevice;
  readonly #image: string;
  readonly #copy: string;
  readonly #loop: string;
  #last: { readonly data: Buffer; readonly finding: Finding } | undefined;

  /** It mounts file systems at the `root` of `device`. */
  constructor(device: BlockDevice) {
    this.#device = device;
    this.#image = device.at('crashed');
    this.#copy = device.at('crashed-files');
    writeFileSync(this.#image, Buffer.alloc(DATA.lengthBytes));
    this.#loop = attachLoop(this.#image);
  }

  close(): void {
    detachLoop(this.#loop);
  }

  /**
   * @param disk - as power left it
   * @throws Error that says what is broken
   */
  async find(disk: Buffer): Promise<Finding> {
    const data = regionOf(disk, DATA);
    // What changed only a slot leaves the file system as it was.
    if (this.#last?.data.equals(data) === true) return this.#last.finding;
    const finding = await this.#findIn(data);
    this.#last = { data, finding };
    return finding;
  }

  async #findIn(data: Buffer): Promise<Finding> {
    overwrite(this.#image, data);
    const { board, root } = this.#device;
    const raw =
      board.raw === undefined ? undefined : readWithGrub(this.#image, `/device/${board.raw}`);
    rmSync(this.#copy, { recursive: true, force: true });
    mount(this.#loop, root);
    try {
      copyFiles(root, this.#copy);
      copyFiles(join(root, 'device'), join(this.#copy, 'device'));
    } finally {
      unmount(root);
    }
    demandSound(this.#image);
    const directory = join(this.#copy, 'device');
    // Before the boot loader changes anything.
    const claimed = await claimedIn(board, directory);
    if (raw !== undefined) writeFileSync(join(directory, board.raw ?? ''), raw);
    const belief = await readBelief(board, this.#copy);
    const boots = Array.from({ length: TRIES + 2 }, () => board.boot(directory));
    return { ...belief, boots, claimed };
  }
}

/** In the memory that it has: giving that back and asking for it again is most of the time otherwise. */
function overwrite(path: string, content: Buffer): void {
  const file = openSync(path, 'r+');
  writeSync(file, content);
  closeSync(file);
}

/** The real checker, after the kernel has replayed the journal. */
function demandSound(image: string): void {
  const { status, stdout } = spawnSync('e2fsck', ['-f', '-n', image], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`e2fsck: ${stdout}`);
}

async function claimedIn(board: Board, directory: string): Promise<readonly Slot[]> {
  const { images } = await openRecord(board, directory).load();
  return (['a', 'b'] as const).filter((slot) => images[slot] !== undefined);
}

/** Of copies of the files: nothing is changed on the way that is not a copy. */
export async function readBelief(board: Board, directory: string): Promise<Belief> {
  return {
    choice: board.read(join(directory, 'device')),
    state: await dump(join(directory, 'state.db')),
  };
}

const TABLES = ['metadata', 'ecu', 'installed', 'history', 'event', 'fact'];

/** @throws OtaError STORAGE_CORRUPT, as the agent would */
async function dump(path: string): Promise<string> {
  const database = await Database.open(path);
  try {
    const tables: unknown[] = [];
    for (const table of TABLES)
      tables.push(await database.all(`SELECT * FROM ${table} ORDER BY 1, 2`));
    return JSON.stringify(tables, (_name, value: unknown) =>
      isBytes(value) ? Buffer.from(value.data).toString('latin1') : value,
    );
  } finally {
    await database.close();
  }
}

/** As `Buffer.toJSON` says it. */
function isBytes(value: unknown): value is { readonly data: readonly number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';
}

/** What was believed when each mark was made. */
export async function believedAt(board: Board, marks: readonly Mark[]): Promise<readonly Belief[]> {
  const beliefs: Belief[] = [];
  for (const { directory } of marks) beliefs.push(await readBelief(board, directory));
  return beliefs;
}

/**
 * @param expected - what was promised last, and what may have been done since
 * @returns everything that must not be
 */
export function problemsOf(
  finding: Finding,
  disk: Buffer,
  expected: readonly Belief[],
): readonly string[] {
  const problems: string[] = [];
  for (const what of ['choice', 'state'] as const) {
    if (expected.some((belief) => belief[what] === finding[what])) continue;
    problems.push(`${what} is neither what was promised nor what was begun: ${finding[what]}`);
  }
  const images = { a: imageIn(regionOf(disk, SLOTS.a)), b: imageIn(regionOf(disk, SLOTS.b)) };
  for (const slot of new Set(finding.boots)) {
    if (images[slot] === 'neither') problems.push(`slot ${slot} may boot and is not whole`);
  }
  for (const slot of finding.claimed) {
    if (images[slot] !== 'new') problems.push(`slot ${slot} is said to hold the new image`);
  }
  return problems;
}
