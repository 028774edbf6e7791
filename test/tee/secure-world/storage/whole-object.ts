/**
 * Data objects that a TA reads and replaces whole: one durable write each, where opening, truncating
 * and writing through a handle are several.
 */
import { DATA_OBJECT, decodeObject, encodeObject } from './object-head.ts';
import type { TaUuid, TrustedStorage } from './trusted-storage.ts';

/**
 * @returns the data stream, or `undefined` when there is no such object
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it was tampered with
 */
export function readWhole(
  storage: TrustedStorage,
  ta: TaUuid,
  id: Uint8Array,
): Uint8Array | undefined {
  const stored = storage.read(ta, id);
  return stored && decodeObject(stored).data;
}

/**
 * Creates or replaces an object.
 *
 * @throws StorageFailure TEE_ERROR_STORAGE_NO_SPACE when the disk is full
 */
export function replaceWhole(
  storage: TrustedStorage,
  ta: TaUuid,
  { id, data }: { readonly id: Uint8Array; readonly data: Uint8Array },
): void {
  storage.write(ta, id, encodeWhole(data));
}

/** The bytes that storage keeps for a data stream. */
export function encodeWhole(data: Uint8Array): Uint8Array {
  return encodeObject({ ...DATA_OBJECT, data });
}
