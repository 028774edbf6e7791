/** Reading what a handle stands for, which may no longer be what it was opened as. */
import type { StoredObject } from '../storage/object-head.ts';
import { StorageFailure, TEE_ERROR_CORRUPT_OBJECT } from '../storage/trusted-storage.ts';
import type { PersistentObject } from './object-handles.ts';

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it was tampered with or is gone */
export function readOpen({ place }: PersistentObject): StoredObject {
  const stored = place.read();
  if (stored !== undefined) return stored;
  throw new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, 'the object is gone');
}

/**
 * Closes the handle of an object that turns out to be corrupt, as OP-TEE does unless a TA asks it not
 * to (gpd.ta.doesNotCloseHandleOnCorruptObject).
 */
export function closing<T>(handle: number, close: (handle: number) => void, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const isCorrupt = error instanceof StorageFailure && error.result === TEE_ERROR_CORRUPT_OBJECT;
    if (isCorrupt) close(handle);
    throw error;
  }
}
