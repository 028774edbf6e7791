/**
 * From the hardware unique key down to a file's key: SSK, then TSK, then FEK.
 *
 * Source: OP-TEE 4.10 core/kernel/huk_subkey.c and core/tee/tee_fs_key_manager.c.
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';

import type { TaUuid } from '../trusted-storage.ts';

export const HUK_BYTES = 16;
export const FEK_BYTES = 16;

/** What OP-TEE uses on a platform that has no die identifier. */
const CHIP_ID = Buffer.from('BEEF'.repeat(8));
const SSK_USAGE = Buffer.from('ONLY_FOR_tee_fs_ssk\0');
const NO_TA = Uint8Array.of(0);
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u;

/**
 * The secure storage key, from which every TA's key is derived.
 *
 * @param huk - 16 bytes
 * @throws RangeError for a hardware unique key of another size
 */
export function deriveStorageKey(huk: Uint8Array): Uint8Array {
  if (huk.byteLength !== HUK_BYTES) throw new RangeError('a hardware unique key is 16 bytes');
  return createHmac('sha256', huk).update(CHIP_ID).update(SSK_USAGE).digest();
}

/**
 * The key that wraps the file keys of one TA, 32 bytes.
 *
 * @param uuid - in memory order; `undefined` for the directory file, which belongs to no TA
 */
export function deriveTaKey(storageKey: Uint8Array, uuid: Uint8Array | undefined): Uint8Array {
  return createHmac('sha256', storageKey)
    .update(uuid ?? NO_TA)
    .digest();
}

/**
 * A UUID as the struct TEE_UUID lies in memory: its first three fields little-endian, 16 bytes.
 *
 * @throws RangeError for anything but the lower-case text form
 */
export function uuidInMemory(ta: TaUuid): Uint8Array {
  if (!UUID.test(ta)) throw new RangeError(`${ta} is not a UUID in lower-case text form`);
  const bytes = Buffer.from(ta.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

/** AES-256-ECB of one block: the wrapping has no integrity of its own, the head's tag covers it. */
export function wrapFek(taKey: Uint8Array, fek: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-ecb', taKey, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(fek), cipher.final()]);
}

export function unwrapFek(taKey: Uint8Array, wrapped: Uint8Array): Uint8Array {
  const decipher = createDecipheriv('aes-256-ecb', taKey, null).setAutoPadding(false);
  return Buffer.concat([decipher.update(wrapped), decipher.final()]);
}
