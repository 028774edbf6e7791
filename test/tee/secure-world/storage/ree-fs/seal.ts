/**
 * AES-128-GCM as a hash-tree file uses it: 16-byte random IVs and tags, and for each kind of content
 * what it is bound to.
 *
 * Source: OP-TEE 4.10 core/tee/fs_htree.c (authenc_init).
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

import { corrupt, IV_BYTES, TAG_BYTES } from './layout.ts';

export interface FileKey {
  readonly fek: Uint8Array;
  /** As it stands in the head, and bound to everything so that it can't be exchanged. */
  readonly wrappedFek: Uint8Array;
}

export interface Sealed {
  readonly iv: Uint8Array;
  readonly tag: Uint8Array;
  readonly cipherText: Uint8Array;
}

/** What a head vouches for besides the meta data it encrypts. */
export interface Commit {
  readonly counter: number;
  readonly rootHash: Uint8Array;
}

export function sealBlock(key: FileKey, plain: Uint8Array): Sealed {
  return seal(key, new Uint8Array(0), plain);
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the tag is wrong */
export function unsealBlock(key: FileKey, sealed: Sealed, where: string): Buffer {
  return unseal(key, new Uint8Array(0), { sealed, where });
}

export function sealMeta(key: FileKey, commit: Commit, plain: Uint8Array): Sealed {
  return seal(key, encodeCommit(commit), plain);
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the tag is wrong */
export function unsealMeta(
  key: FileKey,
  commit: Commit,
  what: { readonly sealed: Sealed; readonly where: string },
): Buffer {
  return unseal(key, encodeCommit(commit), what);
}

/**
 * OP-TEE binds the first half of the root's hash only, by an old mistake that its configuration
 * keeps for compatibility; the whole hash is still compared when the nodes are verified.
 */
function encodeCommit({ counter, rootHash }: Commit): Uint8Array {
  const bytes = Buffer.alloc(20);
  bytes.set(rootHash.subarray(0, 16));
  bytes.writeUInt32LE(counter, 16);
  return bytes;
}

function seal({ fek, wrappedFek }: FileKey, binding: Uint8Array, plain: Uint8Array): Sealed {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-128-gcm', fek, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.concat([binding, wrappedFek, iv]));
  const cipherText = Buffer.concat([cipher.update(plain), cipher.final()]);
  return { iv, tag: cipher.getAuthTag(), cipherText };
}

function unseal(
  { fek, wrappedFek }: FileKey,
  binding: Uint8Array,
  { sealed, where }: { readonly sealed: Sealed; readonly where: string },
): Buffer {
  const { iv, tag, cipherText } = sealed;
  const decipher = createDecipheriv('aes-128-gcm', fek, iv, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(tag).setAAD(Buffer.concat([binding, wrappedFek, iv]));
  const plain = decipher.update(cipherText);
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch (cause) {
    throw corrupt(where, 'the tag is wrong: it was tampered with or has another key', { cause });
  }
}
