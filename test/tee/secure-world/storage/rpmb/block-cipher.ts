/**
 * AES-128-CBC of whole blocks with an IV that follows from the block's place (ESSIV). It keeps
 * contents secret and no more: who may change them is the RPMB's MAC to say.
 *
 * Source: OP-TEE 4.10 core/tee/tee_fs_key_manager.c (tee_fs_crypt_block, essiv).
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';

import { BLOCK_BYTES } from './frame.ts';

/** @param plain - whole blocks */
export function encryptBlocks(fek: Uint8Array, startBlock: number, plain: Uint8Array): Uint8Array {
  return perBlock(plain, (block, index) => {
    const iv = ivOf(fek, startBlock + index);
    return createCipheriv('aes-128-cbc', fek, iv).setAutoPadding(false).update(block);
  });
}

export function decryptBlocks(fek: Uint8Array, startBlock: number, cipherText: Buffer): Buffer {
  return perBlock(cipherText, (block, index) => {
    const iv = ivOf(fek, startBlock + index);
    return createDecipheriv('aes-128-cbc', fek, iv).setAutoPadding(false).update(block);
  });
}

function ivOf(fek: Uint8Array, block: number): Buffer {
  const place = Buffer.alloc(16);
  place.writeUInt16LE(block);
  const key = createHash('sha256').update(fek).digest().subarray(0, 16);
  return createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(place);
}

function perBlock(bytes: Uint8Array, crypt: (block: Uint8Array, index: number) => Buffer): Buffer {
  const blocks = Array.from({ length: bytes.byteLength / BLOCK_BYTES }, (_, index) =>
    crypt(bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES), index),
  );
  return Buffer.concat(blocks);
}
