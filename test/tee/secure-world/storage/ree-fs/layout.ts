/**
 * Where things lie in a hash-tree file. Numbers only: nothing here encrypts or trusts.
 *
 * Block 0 holds two heads; from there on, 61 block images follow each block of 31 pairs of nodes.
 * Everything is there twice, so that a commit never touches what the last one wrote.
 *
 * Source: OP-TEE 4.10 core/tee/fs_htree.c and core/tee/tee_ree_fs.c (get_offs_size).
 */
import { StorageFailure, TEE_ERROR_CORRUPT_OBJECT } from '../trusted-storage.ts';
import { FEK_BYTES } from './keys.ts';

export const BLOCK_BYTES = 4096;
export const IV_BYTES = 16;
export const TAG_BYTES = 16;
export const HASH_BYTES = 32;
export const META_BYTES = 16;
const HEAD_BYTES = IV_BYTES + TAG_BYTES + FEK_BYTES + META_BYTES + 4;
export const NODE_BYTES = HASH_BYTES + IV_BYTES + TAG_BYTES + 2;

const PAIRS_PER_NODE_BLOCK = Math.floor(BLOCK_BYTES / (2 * NODE_BYTES));
const IMAGES_PER_NODE_BLOCK = 2 * PAIRS_PER_NODE_BLOCK - 1;

export type Version = 0 | 1;

/** The bytes of a file as the normal world gave them, with its name for messages. */
export interface FileImage {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface Head {
  readonly iv: Uint8Array;
  readonly tag: Uint8Array;
  readonly wrappedFek: Uint8Array;
  /** The meta data: the file's length and its number of nodes. */
  readonly cipherText: Uint8Array;
  readonly counter: number;
}

export function headOffset(version: Version): number {
  return HEAD_BYTES * version;
}

/** @param id - 1 for the root */
export function nodeOffset(id: number, version: Version): number {
  const index = id - 1;
  const nodeBlock = 1 + Math.floor(index / PAIRS_PER_NODE_BLOCK) * 2 * PAIRS_PER_NODE_BLOCK;
  return nodeBlock * BLOCK_BYTES + NODE_BYTES * (2 * (index % PAIRS_PER_NODE_BLOCK) + version);
}

export function blockOffset(block: number, version: Version): number {
  const image = 2 * block + version;
  return (2 + image + Math.floor(image / IMAGES_PER_NODE_BLOCK)) * BLOCK_BYTES;
}

/** Size of a file that has room for both versions of `blocks` blocks. */
export function fileBytes(blocks: number): number {
  return blocks === 0 ? 2 * BLOCK_BYTES : blockOffset(blocks - 1, 1) + BLOCK_BYTES;
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the file ends before */
export function readHead(file: FileImage, version: Version): Head {
  const bytes = part(file, headOffset(version), HEAD_BYTES);
  return {
    iv: bytes.subarray(0, 16),
    tag: bytes.subarray(16, 32),
    wrappedFek: bytes.subarray(32, 48),
    cipherText: bytes.subarray(48, 64),
    counter: bytes.readUInt32LE(64),
  };
}

export function encodeHead(head: Head): Uint8Array {
  const counter = Buffer.alloc(4);
  counter.writeUInt32LE(head.counter);
  return Buffer.concat([head.iv, head.tag, head.wrappedFek, head.cipherText, counter]);
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the file ends before */
export function part(file: FileImage, offsetBytes: number, lengthBytes: number): Buffer {
  if (offsetBytes + lengthBytes > file.bytes.byteLength) {
    throw corrupt(file.name, `ends before byte ${String(offsetBytes + lengthBytes)}`);
  }
  const { buffer, byteOffset } = file.bytes;
  return Buffer.from(buffer, byteOffset + offsetBytes, lengthBytes);
}

export function corrupt(fileName: string, problem: string, options?: ErrorOptions): StorageFailure {
  return new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, `${fileName}: ${problem}`, options);
}
