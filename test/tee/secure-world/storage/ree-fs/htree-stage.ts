/**
 * Prepares the next version of a hash-tree file beside the committed one. Nothing is written here:
 * the caller makes `body` durable, and the version exists once `head` is.
 *
 * Source: OP-TEE 4.10 core/tee/fs_htree.c (tee_fs_htree_sync_to_storage).
 */
import { randomBytes } from 'node:crypto';

import type { Placed } from '../block-file.ts';
import { blocksOf, type HashTree } from './htree.ts';
import { FEK_BYTES, wrapFek } from './keys.ts';
import {
  BLOCK_BYTES,
  blockOffset,
  encodeHead,
  fileBytes,
  HASH_BYTES,
  headOffset,
  IV_BYTES,
  META_BYTES,
  nodeOffset,
  TAG_BYTES,
  type Version,
} from './layout.ts';
import {
  blockVersion,
  childFlag,
  childVersion,
  encodeNode,
  hashNode,
  nodeAt,
  type Node,
} from './node.ts';
import { sealBlock, sealMeta } from './seal.ts';

export interface Staged {
  /** The file after the commit. */
  readonly tree: HashTree;
  /** Blocks and nodes; only places that the committed version does not use. */
  readonly body: readonly Placed[];
  /** Replaces the head before the last. */
  readonly head: Placed;
}

const NO_HASH = Buffer.alloc(HASH_BYTES);
const EMPTY_NODE: Node = {
  hash: NO_HASH,
  iv: Buffer.alloc(IV_BYTES),
  tag: Buffer.alloc(TAG_BYTES),
  flags: 0,
};

/** A file that nobody has written yet, with a key of its own. */
export function newTree(taKey: Uint8Array): HashTree {
  const fek = randomBytes(FEK_BYTES);
  const wrappedFek = wrapFek(taKey, fek);
  return { fek, wrappedFek, counter: 0, lengthBytes: 0, rootHash: NO_HASH, nodes: [EMPTY_NODE] };
}

/**
 * Stages new contents for some blocks, and a new length.
 *
 * @param blocks - by number; 4096 bytes each, or fewer for zero padding. Every block that `tree`
 *   does not have yet must be among them
 */
export function stageTree(
  tree: HashTree,
  lengthBytes: number,
  blocks: ReadonlyMap<number, Uint8Array>,
): Staged {
  const nodes = resized(tree.nodes, Math.max(1, blocksOf(lengthBytes)));
  const newBlocks = Array.from(blocks, ([block, plain]) => {
    const { cipherText, ...sealed } = sealBlock(tree, padded(plain));
    const node = { ...nodeAt(nodes, block + 1), ...sealed };
    const flipped = { ...node, flags: node.flags ^ 1 };
    nodes[block] = flipped;
    return { offsetBytes: blockOffset(block, blockVersion(flipped)), bytes: cipherText };
  });
  const changed = new Set([1, ...Array.from(blocks.keys(), (block) => block + 1)]);
  for (let id = nodes.length + 1; id <= tree.nodes.length; id += 1) changed.add(id >> 1);

  const counter = tree.counter + 1;
  const newNodes = rehash(nodes, changed, { counter, lengthBytes });
  const { hash: rootHash } = nodeAt(nodes, 1);
  const next: HashTree = { ...tree, counter, lengthBytes, rootHash, nodes };
  return { tree: next, body: [...newBlocks, ...newNodes], head: placeHead(next) };
}

/**
 * The whole file for a first commit, with room for both versions of every block.
 *
 * The room is what lets a later commit succeed when the disk is full.
 */
export function imageOf({ tree, body, head }: Staged): Uint8Array {
  const image = new Uint8Array(fileBytes(blocksOf(tree.lengthBytes)));
  for (const { offsetBytes, bytes } of [...body, head]) image.set(bytes, offsetBytes);
  return image;
}

/** Splits contents into the blocks that `stageTree` takes. */
export function blocksIn(content: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const blocks = new Map<number, Uint8Array>();
  for (let block = 0; block < blocksOf(content.byteLength); block += 1) {
    blocks.set(block, content.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES));
  }
  return blocks;
}

function resized(nodes: readonly Node[], count: number): Node[] {
  return Array.from({ length: count }, (_, index) => nodes[index] ?? EMPTY_NODE);
}

function padded(plain: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  block.set(plain);
  return block;
}

/** Moves every changed node, and with it its ancestors, to the version that is not committed. */
function rehash(
  nodes: Node[],
  changed: Set<number>,
  { counter, lengthBytes }: Pick<HashTree, 'counter' | 'lengthBytes'>,
): readonly Placed[] {
  const written: Placed[] = [];
  for (let id = nodes.length; id >= 1; id -= 1) {
    if (!changed.has(id)) continue;
    const node = { ...nodeAt(nodes, id), hash: hashNode(nodes, id, lengthBytes) };
    nodes[id - 1] = node;
    const version = id === 1 ? headVersion(counter) : flipInParent(nodes, id);
    changed.add(id >> 1);
    written.push({ offsetBytes: nodeOffset(id, version), bytes: encodeNode(node) });
  }
  return written;
}

function flipInParent(nodes: Node[], id: number): Version {
  const parent = nodeAt(nodes, id >> 1);
  const flipped = { ...parent, flags: parent.flags ^ childFlag(id) };
  nodes[(id >> 1) - 1] = flipped;
  return childVersion(flipped, id);
}

function placeHead(tree: HashTree): Placed {
  const meta = Buffer.alloc(META_BYTES);
  meta.writeBigUInt64LE(BigInt(tree.lengthBytes), 0);
  meta.writeUInt32LE(tree.nodes.length > 1 ? tree.nodes.length : 0, 8);
  const { wrappedFek, counter } = tree;
  const bytes = encodeHead({ ...sealMeta(tree, tree, meta), wrappedFek, counter });
  return { offsetBytes: headOffset(headVersion(counter)), bytes };
}

function headVersion(counter: number): Version {
  return counter % 2 === 0 ? 0 : 1;
}
