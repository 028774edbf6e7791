/**
 * Prepares the next version of a hash-tree file beside the committed one. Nothing is written here:
 * the caller makes `body` durable, and the version exists once `head` is.
 *
 * Source: OP-TEE 4.10 core/tee/fs_htree.c (tee_fs_htree_sync_to_storage).
 */
import { createCipheriv, randomBytes } from 'node:crypto';

import type { Placed } from '../block-file.ts';

import {
  blocksOf,
  childFlag,
  childrenOf,
  childVersion,
  hashNode,
  headBinding,
  type HashTree,
} from './htree.ts';
import { FEK_BYTES, wrapFek } from './keys.ts';
import {
  BLOCK_BYTES,
  blockOffset,
  encodeHead,
  encodeNode,
  fileBytes,
  headOffset,
  IV_BYTES,
  META_BYTES,
  nodeOffset,
  TAG_BYTES,
  type Node,
} from './layout.ts';

export interface Staged {
  /** The file after the commit. */
  readonly tree: HashTree;
  /** Blocks and nodes; only places that the committed version does not use. */
  readonly body: readonly Placed[];
  /** The head that `tree` starts from; replaces the one before the last. */
  readonly head: Placed;
}

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
  const sealedBlocks = [...blocks].map(([block, plain]) => {
    const flags = nodeAt(nodes, block + 1).flags ^ 1;
    const { sealed, ...node } = sealBlock(tree, plain);
    nodes[block] = { hash: NO_HASH, flags, ...node };
    return { offsetBytes: blockOffset(block, flags & 1 ? 1 : 0), bytes: sealed };
  });
  const changed = new Set([1, ...Array.from(blocks.keys(), (block) => block + 1)]);
  for (let id = nodes.length + 1; id <= tree.nodes.length; id += 1) changed.add(id >> 1);

  const counter = tree.counter + 1;
  const changedNodes = rehash(nodes, changed, { counter, lengthBytes });
  const rootHash = nodeAt(nodes, 1).hash;
  const next: HashTree = { ...tree, counter, lengthBytes, rootHash, nodes };
  return { tree: next, body: [...sealedBlocks, ...changedNodes], head: sealHead(next) };
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

const NO_HASH = Buffer.alloc(32);
const EMPTY_NODE: Node = {
  hash: NO_HASH,
  iv: Buffer.alloc(IV_BYTES),
  tag: Buffer.alloc(TAG_BYTES),
  flags: 0,
};

function resized(nodes: readonly Node[], count: number): Node[] {
  return Array.from({ length: count }, (_, index) => nodes[index] ?? EMPTY_NODE);
}

function nodeAt(nodes: readonly Node[], id: number): Node {
  const node = nodes[id - 1];
  if (node === undefined) throw new RangeError(`no node ${String(id)} in the tree`);
  return node;
}

/** Moves every changed node, and with it its ancestors, to the version that is not committed. */
function rehash(
  nodes: Node[],
  changed: Set<number>,
  root: { readonly counter: number; readonly lengthBytes: number },
): readonly Placed[] {
  const written: Placed[] = [];
  for (let id = nodes.length; id >= 1; id -= 1) {
    if (!changed.has(id)) continue;
    const isRoot = id === 1;
    const node = nodeAt(nodes, id);
    const hash = hashNode(node, childrenOf(nodes, id), isRoot ? root.lengthBytes : undefined);
    const hashed = { ...node, hash };
    nodes[id - 1] = hashed;
    const version = isRoot ? (root.counter & 1 ? 1 : 0) : flipInParent(nodes, id);
    changed.add(id >> 1);
    written.push({ offsetBytes: nodeOffset(id, version), bytes: encodeNode(hashed) });
  }
  return written.reverse();
}

function flipInParent(nodes: Node[], id: number): 0 | 1 {
  const parent = nodeAt(nodes, id >> 1);
  const flags = parent.flags ^ childFlag(id);
  nodes[(id >> 1) - 1] = { ...parent, flags };
  return childVersion(flags, id);
}

function sealBlock(
  { fek, wrappedFek }: HashTree,
  plain: Uint8Array,
): { iv: Buffer; tag: Buffer; sealed: Buffer } {
  const iv = randomBytes(IV_BYTES);
  const padded = Buffer.alloc(BLOCK_BYTES);
  padded.set(plain);
  return { iv, ...encrypt(fek, { iv, plain: padded, binding: Buffer.concat([wrappedFek, iv]) }) };
}

function sealHead(tree: HashTree): Placed {
  const { fek, wrappedFek, counter } = tree;
  const iv = randomBytes(IV_BYTES);
  const meta = Buffer.alloc(META_BYTES);
  meta.writeBigUInt64LE(BigInt(tree.lengthBytes), 0);
  meta.writeUInt32LE(tree.nodes.length > 1 ? tree.nodes.length : 0, 8);
  const binding = headBinding({ iv, wrappedFek, counter }, tree.rootHash);
  const { tag, sealed } = encrypt(fek, { iv, plain: meta, binding });
  const bytes = encodeHead({ iv, tag, wrappedFek, sealedMeta: sealed, counter });
  return { offsetBytes: headOffset(counter & 1 ? 1 : 0), bytes };
}

function encrypt(
  key: Uint8Array,
  { iv, plain, binding }: { iv: Uint8Array; plain: Uint8Array; binding: Uint8Array },
): { tag: Buffer; sealed: Buffer } {
  const cipher = createCipheriv('aes-128-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(binding);
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
  return { tag: cipher.getAuthTag(), sealed };
}
