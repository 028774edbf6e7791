/**
 * Reads a hash-tree file: every block is encrypted, every hash and tag is checked before use.
 *
 * Source: OP-TEE 4.10 core/tee/fs_htree.c.
 */
import { createDecipheriv, createHash } from 'node:crypto';

import { unwrapFek } from './keys.ts';
import {
  BLOCK_BYTES,
  blockOffset,
  corrupt,
  encodeNodeBody,
  part,
  readHead,
  readNode,
  TAG_BYTES,
  type FileImage,
  type Head,
  type Node,
  type Version,
} from './layout.ts';
import { StorageFailure, TEE_ERROR_SECURITY } from '../trusted-storage.ts';

/** The committed version of one file. Only `openTree` and `stageTree` make one. */
export interface HashTree {
  readonly fek: Uint8Array;
  readonly wrappedFek: Uint8Array;
  /** Number of commits since the file was made. */
  readonly counter: number;
  readonly lengthBytes: number;
  /** The hash of the first node, and so of all. */
  readonly rootHash: Buffer;
  readonly nodes: readonly Node[];
}

/**
 * The version a head counter names as the last one committed.
 *
 * Stricter than OP-TEE, which takes the larger counter: honest counters are neighbours, the even one
 * first, so that any damage to one is seen instead of silently giving the version before.
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

/** The version whose root has this hash; `undefined` when the file was rolled back or is another. */
export function versionOf(file: FileImage, rootHash: Uint8Array): Version | undefined {
  const versions: readonly Version[] = [0, 1];
  return versions.find((version) => readNode(file, 1, version).hash.equals(rootHash));
}

/**
 * Opens one version of a file and verifies its head and all its nodes.
 *
 * @param taKey - of the TA the file belongs to
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when anything differs, or for another key
 */
export function openTree(file: FileImage, taKey: Uint8Array, version: Version): HashTree {
  const head = readHead(file, version);
  const root = readNode(file, 1, version);
  // A head moved to the other place would make the next commit overwrite this one.
  if (head.counter % 2 !== version) throw corrupt(file.name, 'its head is not in its place');
  const fek = unwrapFek(taKey, head.wrappedFek);
  const { lengthBytes, nodeCount } = openMeta(file, { head, root, fek });
  const nodes = readNodes(file, root, nodeCount);
  verifyNodes(file, nodes, lengthBytes);
  const { wrappedFek, counter } = head;
  return { fek, wrappedFek, counter, lengthBytes, rootHash: root.hash, nodes };
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when a block's tag is wrong */
export function readContent(file: FileImage, tree: HashTree): Uint8Array {
  const blocks = Array.from({ length: blocksOf(tree.lengthBytes) }, (_, block) =>
    readBlock(file, tree, block),
  );
  return Buffer.concat(blocks).subarray(0, tree.lengthBytes);
}

export function blocksOf(lengthBytes: number): number {
  return Math.ceil(lengthBytes / BLOCK_BYTES);
}

/** @param rootLengthBytes - the file's length, which only the root's hash covers */
export function hashNode(
  node: Omit<Node, 'hash'>,
  children: readonly Node[],
  rootLengthBytes: number | undefined,
): Buffer {
  const hash = createHash('sha256').update(encodeNodeBody(node));
  if (rootLengthBytes !== undefined) hash.update(encodeLength(rootLengthBytes));
  for (const child of children) hash.update(child.hash);
  return hash.digest();
}

/** @param id - the parent's; its children as far as the tree goes */
export function childrenOf(nodes: readonly Node[], id: number): readonly Node[] {
  return nodes.slice(2 * id - 1, 2 * id + 1);
}

/**
 * What authenticates a head beyond its cipher text.
 *
 * OP-TEE binds the first half of the root's hash only, by an old mistake that its configuration
 * keeps for compatibility; the whole hash is still compared when the nodes are verified.
 */
export function headBinding(head: Omit<Head, 'sealedMeta' | 'tag'>, rootHash: Uint8Array): Buffer {
  const counter = Buffer.alloc(4);
  counter.writeUInt32LE(head.counter);
  return Buffer.concat([rootHash.subarray(0, 16), counter, head.wrappedFek, head.iv]);
}

function encodeLength(lengthBytes: number): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(lengthBytes));
  return length;
}

interface Sealed {
  readonly head: Head;
  readonly root: Node;
  readonly fek: Uint8Array;
}

function openMeta(
  file: FileImage,
  { head, root, fek }: Sealed,
): { lengthBytes: number; nodeCount: number } {
  const meta = decrypt(file, 'its head', {
    key: fek,
    iv: head.iv,
    tag: head.tag,
    binding: headBinding(head, root.hash),
    sealed: head.sealedMeta,
  });
  const lengthBytes = Number(meta.readBigUInt64LE(0));
  // A tree that never had a second node says 0.
  const nodeCount = Math.max(1, meta.readUInt32LE(8));
  if (blocksOf(lengthBytes) > nodeCount) throw corrupt(file.name, 'its length exceeds its tree');
  return { lengthBytes, nodeCount };
}

function readNodes(file: FileImage, root: Node, nodeCount: number): readonly Node[] {
  const nodes = [root];
  for (let id = 2; id <= nodeCount; id += 1) {
    const parent = nodes[(id >> 1) - 1] ?? root;
    nodes.push(readNode(file, id, childVersion(parent.flags, id)));
  }
  return nodes;
}

/** The flag of a parent that tells which version of this child is committed. */
export function childFlag(id: number): number {
  return 1 << (1 + (id & 1));
}

export function childVersion(parentFlags: number, id: number): Version {
  return (parentFlags & childFlag(id)) === 0 ? 0 : 1;
}

function verifyNodes(file: FileImage, nodes: readonly Node[], lengthBytes: number): void {
  nodes.forEach((node, index) => {
    const id = index + 1;
    const hash = hashNode(node, childrenOf(nodes, id), id === 1 ? lengthBytes : undefined);
    if (!hash.equals(node.hash))
      throw corrupt(file.name, `the hash of node ${String(id)} is wrong`);
  });
}

function readBlock(file: FileImage, tree: HashTree, block: number): Uint8Array {
  const node = tree.nodes[block];
  if (node === undefined) throw corrupt(file.name, `has no block ${String(block)}`);
  const version = (node.flags & 1) === 0 ? 0 : 1;
  return decrypt(file, `block ${String(block)}`, {
    key: tree.fek,
    iv: node.iv,
    tag: node.tag,
    binding: Buffer.concat([tree.wrappedFek, node.iv]),
    sealed: part(file, blockOffset(block, version), BLOCK_BYTES),
  });
}

interface Ciphered {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  readonly tag: Uint8Array;
  readonly binding: Uint8Array;
  readonly sealed: Uint8Array;
}

function decrypt(file: FileImage, what: string, ciphered: Ciphered): Buffer {
  const decipher = createDecipheriv('aes-128-gcm', ciphered.key, ciphered.iv, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAuthTag(ciphered.tag).setAAD(ciphered.binding);
  const plain = decipher.update(ciphered.sealed);
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch (cause) {
    throw corrupt(file.name, `the tag of ${what} is wrong (tampered with, or another key)`, {
      cause,
    });
  }
}
