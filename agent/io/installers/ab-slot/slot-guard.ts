/** Opens the slot that may be written, and no other storage whatever it is called. */
import { constants } from 'node:fs';
import { access, open, stat, statfs, type FileHandle } from 'node:fs/promises';

import { OtaError } from '../../../errors.ts';
import { failed } from './boot-choice.ts';
import { allMounted, blockFacts, identify, overlap, storageAt } from './slot-storage.ts';

export interface Slots {
  /** The slot to write. */
  readonly path: string;
  /** The slot that runs. */
  readonly running: string;
}

/**
 * Refuses storage that runs, by whatever name, before anything is opened for writing.
 *
 * @returns what the slot is
 * @throws OtaError INSTALL_FAILED if it is, or shares anything with, the running slot, or is mounted
 */
export async function demandIdle({ path, running }: Slots): Promise<string> {
  const slot = await storageAt(path);
  if (overlap(slot, await storageAt(running))) {
    const remedy = 'give each slot storage of its own in installer.slot_a and installer.slot_b';
    throw failed(`${path} is the storage of ${running}, which runs: ${remedy}`);
  }
  const mounted = (await allMounted()).find((one) => overlap(slot, one));
  if (mounted !== undefined) {
    const remedy = 'a slot that is in use is not written; unmount it, or correct the boot loader';
    throw failed(`${path} is mounted at ${mounted.at}: ${remedy}`);
  }
  return slot.id;
}

/**
 * Opens an idle slot for writing, for nobody else as far as the kernel can say: a block device that
 * is mounted, in whatever name space, or part of another one is refused.
 *
 * @throws OtaError INSTALL_FAILED
 */
export async function openIdle(slots: Slots): Promise<FileHandle> {
  const id = await demandIdle(slots);
  const exclusive = id.startsWith('block') ? constants.O_EXCL : 0;
  // Not created: a slot that is missing is a wiring error, not a place to write to.
  const handle = await open(slots.path, constants.O_RDWR | exclusive).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'EBUSY') {
      throw failed(`${slots.path} is in use: it is mounted, or part of another device`, error);
    }
    throw error;
  });
  try {
    // Names may have changed since they were looked at; what is open stays what it is.
    if (identify(await handle.stat(), slots.path) === id) return handle;
    throw failed(`${slots.path} became another device while it was opened: try again`);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Refuses an image that cannot be written there.
 *
 * @param slotBytes - size of a slot that is a file; absent: as far as its file system reaches
 * @throws OtaError SPACE_INSUFFICIENT
 * @throws OtaError INSTALL_FAILED if it is read-only
 */
export async function demandRoom(
  path: string,
  neededBytes: number,
  slotBytes: number | undefined,
): Promise<void> {
  const block = await blockFacts((await storageAt(path)).id);
  if (block?.isReadOnly === true) throw failed(`${path} is read-only: make it writable`);
  await access(path, constants.R_OK | constants.W_OK);
  const freeBytes = block?.bytes ?? slotBytes ?? (await roomAt(path));
  if (neededBytes > freeBytes) {
    throw new OtaError('SPACE_INSUFFICIENT', { path, neededBytes, freeBytes });
  }
}

/** For a file: what it has, and what it could grow by. */
export async function roomAt(path: string): Promise<number> {
  const { size } = await stat(path);
  const { bavail, bsize } = await statfs(path);
  return size + bavail * bsize;
}
