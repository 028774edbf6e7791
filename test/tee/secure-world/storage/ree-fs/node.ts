/**
 * The nodes of the hash tree: what they look like and what their hashes cover.
 *
 * Source: OP-TEE 4.10 core/tee/fs_htree.c.
 */
import { createHash } from 'node:crypto';

import { NODE_BYTES, nodeOffset, part, type FileImage, type Version } from './layout.ts';

/** Node `n` describes block `n - 1` and, through the hash, the nodes `2n` and `2n + 1`. */
export interface Node {
  readonly hash: Buffer;
  readonly iv: Uint8Array;
  readonly tag: Uint8Array;
  /** Bit 0: version of the block. Bits 1 and 2: versions of the children. */
  readonly flags: number;
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the file ends before */
export function readNode(file: FileImage, id: number, version: Version): Node {
  const bytes = part(file, nodeOffset(id, version), NODE_BYTES);
  return {
    hash: bytes.subarray(0, 32),
    iv: bytes.subarray(32, 48),
    tag: bytes.subarray(48, 64),
    flags: bytes.readUInt16LE(64),
  };
}

export function encodeNode(node: Node): Uint8Array {
  return Buffer.concat([node.hash, encodeBody(node)]);
}

/**
 * The hash that node `id` must have, over itself and the hashes of its children.
 *
 * @param lengthBytes - the file's length; only the root's hash covers it
 */
export function hashNode(nodes: readonly Node[], id: number, lengthBytes: number): Buffer {
  const node = nodeAt(nodes, id);
  const hash = createHash('sha256').update(encodeBody(node));
  if (id === 1) hash.update(encodeLength(lengthBytes));
  for (const child of nodes.slice(2 * id - 1, 2 * id + 1)) hash.update(child.hash);
  return hash.digest();
}

/** @throws RangeError when the tree has no such node */
export function nodeAt(nodes: readonly Node[], id: number): Node {
  const node = nodes[id - 1];
  if (node === undefined) throw new RangeError(`no node ${String(id)} in the tree`);
  return node;
}

export function blockVersion(node: Node): Version {
  return (node.flags & 1) === 0 ? 0 : 1;
}

/** Which version of child `id` its parent means. */
export function childVersion(parent: Node, id: number): Version {
  return (parent.flags & childFlag(id)) === 0 ? 0 : 1;
}

export function childFlag(id: number): number {
  return 1 << (1 + (id & 1));
}

function encodeBody({ iv, tag, flags }: Node): Uint8Array {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(flags);
  return Buffer.concat([iv, tag, bytes]);
}

function encodeLength(lengthBytes: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(lengthBytes));
  return bytes;
}
