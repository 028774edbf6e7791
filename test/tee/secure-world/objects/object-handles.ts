/** What one instance of a TA has in its hands: objects by handle, of nobody else. */
import type { StoredObject } from '../storage/object-head.ts';
import { StorageFailure } from '../storage/trusted-storage.ts';
import { TEE } from '../world/results.ts';
import type { Place } from './place.ts';
import type { OpenObject } from './sharing.ts';

/** Bounds what one instance can make the world keep. */
const MAX_HANDLES = 1024;

export interface PersistentObject {
  readonly kind: 'persistent';
  place: Place;
  readonly shared: OpenObject;
  /** TEE_DATA_FLAG_* it was opened with. */
  readonly flags: number;
  /** As it was when it was opened; usage and data may have changed since. */
  readonly head: Omit<StoredObject, 'data' | 'objectUsage'>;
  /** As this handle last saw it: another handle's writes do not show here. */
  dataSizeBytes: number;
  dataPosition: number;
}

export interface TransientObject {
  readonly kind: 'transient';
  readonly objectType: number;
  readonly maxObjectSizeBits: number;
  usage: number;
  /** `undefined` until it is initialised. */
  secret: Uint8Array | undefined;
}

type AnyObject = PersistentObject | TransientObject;

/** Numbers that are never given twice, so that a handle of something closed is always found out. */
export class HandleTable<T> {
  readonly #held = new Map<number, T>();
  #last = 0;

  /** @throws StorageFailure TEE_ERROR_OUT_OF_MEMORY when there are too many */
  assertRoom(): void {
    if (this.#held.size < MAX_HANDLES) return;
    throw new StorageFailure(TEE.OUT_OF_MEMORY, `the TA holds ${String(MAX_HANDLES)} of these`);
  }

  add(each: T): number {
    this.assertRoom();
    this.#last += 1;
    this.#held.set(this.#last, each);
    return this.#last;
  }

  /** @throws StorageFailure TEE_ERROR_BAD_PARAMETERS, which no function permits */
  get(handle: number): T {
    const each = this.#held.get(handle);
    if (each !== undefined) return each;
    throw new StorageFailure(TEE.BAD_PARAMETERS, `the TA holds no ${String(handle)}`);
  }

  replace(handle: number, each: T): void {
    this.#held.set(handle, each);
  }

  delete(handle: number): void {
    this.#held.delete(handle);
  }

  takeAll(): readonly T[] {
    const all = [...this.#held.values()];
    this.#held.clear();
    return all;
  }
}

export class ObjectHandles extends HandleTable<AnyObject> {
  /** @throws StorageFailure TEE_ERROR_BAD_STATE, which no function permits */
  persistent(handle: number): PersistentObject {
    const object = this.get(handle);
    if (object.kind === 'persistent') return object;
    throw new StorageFailure(TEE.BAD_STATE, `object ${String(handle)} is not persistent`);
  }

  /** @throws StorageFailure TEE_ERROR_BAD_STATE, which no function permits */
  transient(handle: number): TransientObject {
    const object = this.get(handle);
    if (object.kind === 'transient') return object;
    throw new StorageFailure(TEE.BAD_STATE, `object ${String(handle)} is not transient`);
  }
}
