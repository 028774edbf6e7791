/**
 * Persistent object enumerators: what there was when one was started, less what is gone since.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 §5.8; OP-TEE 4.10 core/tee/tee_svc_storage.c.
 */
import { StorageFailure } from '../storage/trusted-storage.ts';
import { TEE } from '../world/results.ts';
import { HandleTable } from './object-handles.ts';
import { permitting } from './permitted-results.ts';
import { HANDLE_FLAG, type ObjectInfo } from './persistent-objects.ts';
import type { Place, Places } from './place.ts';

interface Enumerator {
  left: Place[];
}

/** Everything throws StorageFailure with a result that the function permits, or TaPanic. */
export class Enumerators {
  readonly #places: Places;
  readonly #handles = new HandleTable<Enumerator>();

  constructor(places: Places) {
    this.#places = places;
  }

  /** @returns a handle, of an enumerator that was not started */
  allocate(): number {
    return permitting('TEE_AllocatePersistentObjectEnumerator', () =>
      this.#handles.add({ left: [] }),
    );
  }

  /** 0 is none. */
  free(handle: number): void {
    permitting('TEE_FreePersistentObjectEnumerator', () => {
      if (handle === 0) return;
      this.#handles.get(handle);
      this.#handles.delete(handle);
    });
  }

  /** 0 is none. */
  reset(handle: number): void {
    permitting('TEE_ResetPersistentObjectEnumerator', () => {
      if (handle !== 0) this.#handles.get(handle).left = [];
    });
  }

  start(handle: number, storageId: number): void {
    permitting('TEE_StartPersistentObjectEnumerator', () => {
      const enumerator = this.#handles.get(handle);
      enumerator.left = [];
      enumerator.left = [...this.#places.all(storageId)];
      if (enumerator.left.length > 0) return;
      throw new StorageFailure(TEE.ITEM_NOT_FOUND, 'the TA has no objects in this storage');
    });
  }

  next(handle: number): { readonly id: Uint8Array; readonly info: ObjectInfo } {
    return permitting('TEE_GetNextPersistentObject', () => {
      const { left } = this.#handles.get(handle);
      for (let place = left.shift(); place !== undefined; place = left.shift()) {
        const stored = place.read();
        if (stored === undefined) continue;
        const { data, objectType, objectSizeBits, maxObjectSizeBits, objectUsage } = stored;
        const info = {
          objectType,
          objectSizeBits,
          maxObjectSizeBits,
          objectUsage,
          dataSizeBytes: data.byteLength,
          dataPosition: 0,
          handleFlags: HANDLE_FLAG.PERSISTENT | HANDLE_FLAG.INITIALIZED,
        };
        return { id: place.id, info };
      }
      throw new StorageFailure(TEE.ITEM_NOT_FOUND, 'there are no more objects');
    });
  }
}
