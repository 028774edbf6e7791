/** From a staged archive to a recorded tree beside the others, or to nothing. */
import { rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

import { isOtaError, OtaError } from '../../../errors.ts';
import type { Progress } from '../../../ports.ts';
import type { Target } from '../../../uptane/plan.ts';
import { inspectArchive, unpackArchive, type Archive } from './archive.ts';
import { ArchiveRefused } from './tar-entries.ts';
import { readTree, syncTree, treeDigest, type TreeEntry } from './tree.ts';
import type { Versions } from './versions.ts';

/** How the content of a tree comes about. */
export interface Making {
  readonly foreseen: readonly TreeEntry[];
  /** Makes it below `root`, which is empty; returns what it has added to what was foreseen. */
  readonly make: (root: string) => Promise<readonly TreeEntry[]>;
}

/** Looks at the whole archive first. */
export async function fromArchive(
  target: Target,
  archive: Archive,
  progress: Progress,
): Promise<Making> {
  const foreseen = await refusing(target, () => inspectArchive(archive));
  const contentBytes = foreseen.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const { lengthBytes } = target;
  const report = (doneBytes: number): void => {
    progress(Math.floor((doneBytes / (contentBytes + 1)) * lengthBytes), lengthBytes);
  };
  return {
    foreseen,
    make: async (root) => {
      await unpackArchive(archive, root, report);
      return [];
    },
  };
}

/**
 * Makes the tree, brings it to the disk, reads it back and records it. What fails leaves nothing.
 *
 * @throws OtaError SPACE_INSUFFICIENT
 */
export async function makeVersion(
  target: Target,
  versions: Versions,
  { foreseen, make }: Making,
): Promise<void> {
  const neededBytes = sizeOnDisk(foreseen);
  await demandSpace(versions, neededBytes);
  const name = await versions.create(imageId(target));
  const root = versions.treeOf(name);
  try {
    const added = await make(root);
    await syncTree(root);
    const tree = treeDigest([...foreseen, ...added]);
    if (treeDigest(await readTree(root)) !== tree) {
      throw new Error(`${root} reads back differently from what was unpacked: check the disk`);
    }
    await versions.record(name, { image: imageId(target), filename: target.filename, tree });
  } catch (error) {
    const freeBytes = await freeAt(dirname(root));
    await rm(root, { recursive: true, force: true });
    if (!isFull(error)) throw error;
    throw spaceMissing(versions, Math.max(neededBytes, freeBytes + 1), freeBytes);
  }
}

/** @throws OtaError SPACE_INSUFFICIENT */
export async function demandSpace(versions: Versions, neededBytes: number): Promise<void> {
  const freeBytes = await freeAt(dirname(versions.directory));
  if (neededBytes > freeBytes) throw spaceMissing(versions, neededBytes, freeBytes);
}

/** What whoever is not root can still write there. */
export async function freeAt(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** Bound to the content of the archive, not to its name. */
export function imageId(target: Target): string {
  const [entry] = target.hashes;
  return entry === undefined ? '' : `${entry[0]}:${entry[1]}`;
}

function spaceMissing(
  { directory }: Versions,
  neededBytes: number,
  freeBytes: number,
): OtaError<'SPACE_INSUFFICIENT'> {
  return new OtaError('SPACE_INSUFFICIENT', { path: directory, neededBytes, freeBytes });
}

async function refusing<T>({ filename }: Target, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (isOtaError(error)) throw error;
    const problem = error instanceof Error ? error.message : String(error);
    const what = error instanceof ArchiveRefused ? 'is refused' : 'cannot be read';
    throw new Error(`archive ${filename} ${what}: ${problem}`, { cause: error });
  }
}

const BLOCK_BYTES = 4096;

/** What the tree takes, rounded up: whole blocks, and one for each entry itself. */
function sizeOnDisk(entries: readonly TreeEntry[]): number {
  return entries.reduce(
    (sum, { sizeBytes }) => sum + (Math.ceil(sizeBytes / BLOCK_BYTES) + 1) * BLOCK_BYTES,
    0,
  );
}

function isFull(error: unknown): boolean {
  const full = ['ENOSPC', 'EDQUOT'];
  return error instanceof Error && 'code' in error && full.includes(String(error.code));
}
