/**
 * What each function of the API may answer besides TEE_SUCCESS. Anything else is a broken contract,
 * and the TA panics: TEE_Panic never returns to it.
 *
 * Source: OP-TEE 4.10 lib/libutee/tee_api_objects.c.
 */
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
} from '../storage/trusted-storage.ts';
import { TaPanic } from '../ta.ts';
import { TEE } from '../world/results.ts';

const BROKEN = [TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE];
const OPENING = [TEE.ITEM_NOT_FOUND, TEE.ACCESS_CONFLICT, TEE.OUT_OF_MEMORY, ...BROKEN];

const PERMITTED = {
  TEE_OpenPersistentObject: OPENING,
  TEE_CreatePersistentObject: [...OPENING, TEE_ERROR_STORAGE_NO_SPACE],
  TEE_CloseObject: [],
  TEE_CloseAndDeletePersistentObject1: [TEE_ERROR_STORAGE_NOT_AVAILABLE],
  TEE_RenamePersistentObject: [TEE.ACCESS_CONFLICT, ...BROKEN],
  TEE_GetObjectInfo1: BROKEN,
  TEE_RestrictObjectUsage1: BROKEN,
  TEE_ReadObjectData: BROKEN,
  TEE_WriteObjectData: [TEE_ERROR_STORAGE_NO_SPACE, TEE.OVERFLOW, ...BROKEN],
  TEE_TruncateObjectData: [TEE_ERROR_STORAGE_NO_SPACE, TEE.OVERFLOW, ...BROKEN],
  TEE_SeekObjectData: [TEE.OVERFLOW, ...BROKEN],
  TEE_AllocatePersistentObjectEnumerator: [TEE.OUT_OF_MEMORY],
  TEE_FreePersistentObjectEnumerator: [],
  TEE_ResetPersistentObjectEnumerator: [],
  TEE_StartPersistentObjectEnumerator: [TEE.ITEM_NOT_FOUND, ...BROKEN],
  TEE_GetNextPersistentObject: [TEE.ITEM_NOT_FOUND, ...BROKEN],
  TEE_AllocateTransientObject: [TEE.OUT_OF_MEMORY, TEE.NOT_SUPPORTED],
  TEE_FreeTransientObject: [],
  TEE_ResetTransientObject: [],
  TEE_GenerateKey: [],
  TEE_SetOperationKey: BROKEN,
} as const satisfies Record<string, readonly number[]>;

/**
 * Runs one function of the API for a TA.
 *
 * @throws StorageFailure with a result that the function may answer
 * @throws TaPanic for any other
 */
export function permitting<T>(name: keyof typeof PERMITTED, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    if (!(cause instanceof StorageFailure)) throw cause;
    const permitted: readonly number[] = PERMITTED[name];
    if (permitted.includes(cause.result)) throw cause;
    throw new TaPanic(cause.result, `${name}: ${cause.message}`, { cause });
  }
}
