/**
 * dirf.db on disk. Its commit is the commit of the whole storage: an object exists, changes and ends
 * here, whatever its own file holds.
 *
 * It is read once, when it is opened; from then on the secure world's memory is what counts, and a
 * change behind its back is found by the next opening.
 */
import type { Anchor } from '../anchor.ts';
import { publish, type BlockDirectory, type BlockFile } from '../block-file.ts';
import {
  StorageFailure,
  TEE_ERROR_SECURITY,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
} from '../trusted-storage.ts';
import { changedBlocks, DirectoryIndex, type DirectoryChange } from './dirfile.ts';
import {
  hasHiddenSuccessor,
  lastCommitted,
  openListed,
  openTree,
  readContent,
  type HashTree,
} from './htree.ts';
import { imageOf, newTree, stageTree } from './htree-stage.ts';
import { corrupt, type FileImage } from './layout.ts';

export const DIRECTORY_NAME = 'dirf.db';

/** What the directory's opening and every commit need. */
export interface DirectoryPorts {
  readonly disk: BlockDirectory;
  /** Wraps the file key of dirf.db, which belongs to no TA. */
  readonly key: Uint8Array;
  readonly anchor?: Anchor;
}

export class Directory {
  readonly #ports: DirectoryPorts;
  readonly #file: BlockFile;
  readonly #index: DirectoryIndex;
  #tree: HashTree;
  #isInDoubt = false;

  /**
   * Opens dirf.db, or makes an empty one in a directory that holds no storage yet.
   *
   * @param hasObjects - whether there are object files, which never exist without a dirf.db
   * @throws StorageFailure TEE_ERROR_SECURITY when it was rolled back or removed
   * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it does not verify
   */
  constructor(ports: DirectoryPorts, hasObjects: boolean) {
    this.#ports = ports;
    this.#file = ports.disk.open(DIRECTORY_NAME) ?? createEmpty(ports, hasObjects);
    try {
      // A killed process may have left its last commit in the system's cache only.
      this.#file.sync();
      const image = { name: DIRECTORY_NAME, bytes: this.#file.read() };
      this.#tree = openNewest(image, ports);
      this.#index = new DirectoryIndex(DIRECTORY_NAME, readContent(image, this.#tree));
      if (ports.anchor?.load() === undefined) ports.anchor?.store(this.#tree.rootHash);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /** @throws StorageFailure TEE_ERROR_STORAGE_NOT_AVAILABLE after a commit that ended in doubt */
  get index(): DirectoryIndex {
    if (this.#isInDoubt) {
      const what = `${DIRECTORY_NAME}: the last commit ended in doubt, open the storage again`;
      throw new StorageFailure(TEE_ERROR_STORAGE_NOT_AVAILABLE, what);
    }
    return this.#index;
  }

  /** Whether the last commit failed when it may already have been durable. */
  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  /**
   * Commits a change, durably: one sync for the new nodes and blocks, one for the head.
   *
   * The head is never sent along with what it vouches for: a disk may store it first, and OP-TEE does
   * not fall back to the head before.
   */
  commit(change: DirectoryChange): void {
    const blocks = changedBlocks(this.#index.content, change.content);
    const staged = stageTree(this.#tree, change.content.byteLength, blocks);
    for (const placed of staged.body) this.#file.write(placed);
    this.#file.sync();
    this.#isInDoubt = true;
    this.#file.write(staged.head);
    this.#file.sync();
    this.#ports.anchor?.store(staged.tree.rootHash);
    this.#isInDoubt = false;
    this.#tree = staged.tree;
    this.#index.apply(change);
  }

  close(): void {
    this.#file.close();
  }
}

function createEmpty({ disk, key, anchor }: DirectoryPorts, hasObjects: boolean): BlockFile {
  if (anchor?.load() !== undefined) throw rolledBack('is anchored but missing');
  if (!hasObjects) {
    publish(disk, DIRECTORY_NAME, imageOf(stageTree(newTree(key), 0, new Map())));
    const file = disk.open(DIRECTORY_NAME);
    if (file !== undefined) return file;
  }
  throw corrupt(DIRECTORY_NAME, 'is missing');
}

/**
 * The version that the anchor names; without an anchor, or when it was never set, the one that the
 * counters name.
 */
function openNewest(image: FileImage, { key, anchor }: DirectoryPorts): HashTree {
  const rootHash = anchor?.load();
  if (rootHash === undefined) {
    const tree = openTree(image, key, lastCommitted(image));
    if (!hasHiddenSuccessor(image, tree)) return tree;
    throw rolledBack('the counter of its last commit was changed');
  }
  const tree = openListed(image, key, rootHash);
  if (tree === undefined) throw rolledBack('is not the anchored version');
  return tree;
}

function rolledBack(how: string): StorageFailure {
  return new StorageFailure(TEE_ERROR_SECURITY, `${DIRECTORY_NAME}: ${how}`);
}
