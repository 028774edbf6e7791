/**
 * Reads a hash-tree file: every block is encrypted, every hash and tag is checked before use.
 *
 * Source: OP-TEE 4.10 core/tee/fs_htree.c.
 */
import { StorageFailure, TEE_ERROR_SECURITY } from '../trusted-storage.ts';
import { unwrapFek } from './keys.ts';
import {
  BLOCK_BYTES,
  blockOffset,
  corrupt,
  part,
  readHead,
  type FileImage,
  type Version,
} from './layout.ts';
import { blockVersion, childVersion, hashNode, nodeAt, readNode, type Node } from './node.ts';
import { unsealBlock, unsealMeta, type FileKey } from './seal.ts';

const VERSIONS: readonly Version[] = [0, 1];

/** The committed version of one file. */
export interface HashTree extends FileKey {
  /** Number of commits since the file was made. */
  readonly counter: number;
  readonly lengthBytes: number;
  /** The hash of the first node, and so of all. */
  readonly rootHash: Buffer;
  readonly nodes: readonly Node[];
}

/**
 * The version that the head counters name as the last one committed.
 *
 * Stricter than OP-TEE, which takes the larger counter: honest counters are neighbours, the even one
 * first, so damage to one is seen instead of silently giving the version before.
 *
 * @throws StorageFailure TEE_ERROR_SECURITY when no sequence of commits leaves these counters
 */
export function lastCommitted(file: FileImage): Version {
  const even = readHead(file, 0).counter;
  const odd = readHead(file, 1).counter;
  if (even % 2 !== 0 || Math.abs(even - odd) !== 1) {
    const found = `head counters ${String(even)} and ${String(odd)}`;
    throw new StorageFailure(TEE_ERROR_SECURITY, `${file.name}: ${found} are not neighbours`);
  }
  return even > odd ? 0 : 1;
}

/**
 * Whether the other head is the next commit but for its counter.
 *
 * Such a file looks like one whose last commit never happened. A crash does not leave it, because a
 * head lies in one sector and is written whole or not at all.
 */
export function hasHiddenSuccessor(file: FileImage, tree: HashTree): boolean {
  const counter = tree.counter + 1;
  const version = counter % 2 === 0 ? 0 : 1;
  const commit = { counter, rootHash: readNode(file, 1, version).hash };
  try {
    unsealMeta(tree, commit, { sealed: readHead(file, version), where: file.name });
    return true;
  } catch (error) {
    if (error instanceof StorageFailure) return false;
    throw error;
  }
}

/**
 * Opens the version whose root has this hash.
 *
 * Both versions can have it: a commit that changes no block writes the same root again. Cut off before
 * its head, it leaves a root without a head of its own, so the version that verifies is taken. OP-TEE
 * takes the first, and so would lose such a file.
 *
 * @param taKey - of the TA the file belongs to
 * @returns `undefined` when no root has the hash: the file was rolled back or is another
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when none that has it verifies
 */
export function openListed(
  file: FileImage,
  taKey: Uint8Array,
  rootHash: Uint8Array,
): HashTree | undefined {
  const [first, second] = VERSIONS.filter((version) =>
    readNode(file, 1, version).hash.equals(rootHash),
  );
  if (first === undefined) return undefined;
  if (second === undefined) return openTree(file, taKey, first);
  const trees = [openIfWhole(file, taKey, first), openIfWhole(file, taKey, second)];
  const newest = trees
    .filter((tree) => tree !== undefined)
    .toSorted((a, b) => b.counter - a.counter)[0];
  return newest ?? openTree(file, taKey, first);
}

/**
 * Opens one version of a file and verifies its head and all its nodes.
 *
 * @param taKey - of the TA the file belongs to
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when anything differs, or for another key
 */
export function openTree(file: FileImage, taKey: Uint8Array, version: Version): HashTree {
  const { wrappedFek, counter, ...sealed } = readHead(file, version);
  // A head moved to the other place would make the next commit overwrite this one.
  if (counter % 2 !== version) throw corrupt(file.name, 'its head is not in its place');
  const key = { fek: unwrapFek(taKey, wrappedFek), wrappedFek };
  const root = readNode(file, 1, version);
  const commit = { counter, rootHash: root.hash };
  const meta = unsealMeta(key, commit, { sealed, where: `${file.name}: head` });

  const lengthBytes = Number(meta.readBigUInt64LE(0));
  // A tree that never had a second node says 0.
  const nodeCount = Math.max(1, meta.readUInt32LE(8));
  if (blocksOf(lengthBytes) > nodeCount) throw corrupt(file.name, 'its length exceeds its tree');
  const nodes = readNodes(file, root, nodeCount);
  verifyNodes(file, nodes, lengthBytes);
  return { ...key, ...commit, lengthBytes, nodes };
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when a block's tag is wrong */
export function readContent(file: FileImage, tree: HashTree): Uint8Array {
  const blocks = Array.from({ length: blocksOf(tree.lengthBytes) }, (_, block) => {
    const node = nodeAt(tree.nodes, block + 1);
    const cipherText = part(file, blockOffset(block, blockVersion(node)), BLOCK_BYTES);
    return unsealBlock(tree, { ...node, cipherText }, `${file.name}: block ${String(block)}`);
  });
  return Buffer.concat(blocks).subarray(0, tree.lengthBytes);
}

function openIfWhole(file: FileImage, taKey: Uint8Array, version: Version): HashTree | undefined {
  try {
    return openTree(file, taKey, version);
  } catch (error) {
    if (error instanceof StorageFailure) return undefined;
    throw error;
  }
}

export function blocksOf(lengthBytes: number): number {
  return Math.ceil(lengthBytes / BLOCK_BYTES);
}

function readNodes(file: FileImage, root: Node, nodeCount: number): readonly Node[] {
  const nodes = [root];
  for (let id = 2; id <= nodeCount; id += 1) {
    nodes.push(readNode(file, id, childVersion(nodeAt(nodes, id >> 1), id)));
  }
  return nodes;
}

function verifyNodes(file: FileImage, nodes: readonly Node[], lengthBytes: number): void {
  nodes.forEach((node, index) => {
    const id = index + 1;
    if (!hashNode(nodes, id, lengthBytes).equals(node.hash)) {
      throw corrupt(file.name, `the hash of node ${String(id)} is wrong`);
    }
  });
}
