/**
 * The Trusted Storage API's functions on whole objects.
 *
 * An object that does not verify is TEE_ERROR_CORRUPT_OBJECT as long as it is there. It is kept, as
 * evidence, where OP-TEE deletes it at once; creating it anew with TEE_DATA_FLAG_OVERWRITE replaces it.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 §5.5, §5.7; OP-TEE 4.10 core/tee/tee_svc_storage.c.
 */
import { DATA_OBJECT, type StoredObject } from '../storage/object-head.ts';
import { StorageFailure } from '../storage/trusted-storage.ts';
import { TEE } from '../world/results.ts';
import type { ObjectHandles, PersistentObject } from './object-handles.ts';
import { encodeSecret } from './object-types.ts';
import { permitting } from './permitted-results.ts';
import type { ObjectId, Place, Places } from './place.ts';
import { closing, readOpen } from './reading.ts';
import { DATA_FLAG, type OpenObjects } from './sharing.ts';

const { ACCESS_READ, ACCESS_WRITE, ACCESS_WRITE_META, SHARE_READ, SHARE_WRITE, OVERWRITE } =
  DATA_FLAG;
const OPEN_FLAGS = ACCESS_READ | ACCESS_WRITE | ACCESS_WRITE_META | SHARE_READ | SHARE_WRITE;
const CREATE_FLAGS = OPEN_FLAGS | OVERWRITE;

/** TEE_HANDLE_FLAG_*. */
export const HANDLE_FLAG = { PERSISTENT: 0x1_0000, INITIALIZED: 0x2_0000 } as const;

/** TEE_ObjectInfo. */
export interface ObjectInfo {
  readonly objectType: number;
  readonly objectSizeBits: number;
  readonly maxObjectSizeBits: number;
  readonly objectUsage: number;
  readonly dataSizeBytes: number;
  readonly dataPosition: number;
  /** TEE_DATA_FLAG_* and TEE_HANDLE_FLAG_*. */
  readonly handleFlags: number;
}

export interface NewObject {
  /** TEE_DATA_FLAG_*. */
  readonly flags: number;
  /** Handle of an object whose attributes it takes. */
  readonly attributes?: number;
  readonly data?: Uint8Array;
}

/** Everything throws StorageFailure with a result that the function permits, or TaPanic. */
export class PersistentObjects {
  readonly #places: Places;
  readonly #open: OpenObjects;
  readonly #handles: ObjectHandles;

  constructor(places: Places, open: OpenObjects, handles: ObjectHandles) {
    this.#places = places;
    this.#open = open;
    this.#handles = handles;
  }

  /** @returns a handle */
  open(storageId: number, id: ObjectId, flags: number): number {
    return permitting('TEE_OpenPersistentObject', () => {
      assertFlags(flags, OPEN_FLAGS);
      const place = this.#places.at(storageId, id);
      this.#open.assertShared(place.key, flags);
      const stored = place.read();
      if (stored !== undefined) return this.#handles.add(this.#claim(place, flags, stored));
      throw new StorageFailure(TEE.ITEM_NOT_FOUND, 'there is no such object');
    });
  }

  /** @returns a handle */
  create(storageId: number, id: ObjectId, { flags, attributes, data }: NewObject): number {
    return permitting('TEE_CreatePersistentObject', () => {
      const stored = this.#newObject(attributes, data);
      return this.#handles.add(this.#create({ storageId, id, flags }, stored));
    });
  }

  /** As `create` where the TA asks for no new handle: that of the attributes becomes the object's. */
  persist(storageId: number, id: ObjectId, { flags, data, attributes }: Required<NewObject>): void {
    permitting('TEE_CreatePersistentObject', () => {
      this.#handles.transient(attributes);
      const stored = this.#newObject(attributes, data);
      this.#handles.replace(attributes, this.#create({ storageId, id, flags }, stored));
    });
  }

  /** Closes a handle of any object; 0 is none. */
  close(handle: number): void {
    permitting('TEE_CloseObject', () => {
      if (handle !== 0) this.#close(handle);
    });
  }

  /** The handle is closed whatever comes of it; 0 is none. */
  closeAndDelete(handle: number): void {
    permitting('TEE_CloseAndDeletePersistentObject1', () => {
      if (handle === 0) return;
      const { place } = this.#forChange(handle);
      try {
        place.remove();
      } finally {
        this.#close(handle);
      }
    });
  }

  rename(handle: number, id: ObjectId): void {
    permitting('TEE_RenamePersistentObject', () => {
      const object = this.#forChange(handle);
      const to = this.#places.beside(object.place, id);
      this.#open.assertShared(to.key, ACCESS_WRITE_META);
      object.place.rename(to);
      this.#open.rename(object.shared, to.key);
      object.place = to;
    });
  }

  info(handle: number): ObjectInfo {
    return permitting('TEE_GetObjectInfo1', () => {
      const object = this.#handles.get(handle);
      if (object.kind === 'persistent') return infoOf(object);
      return {
        objectType: object.objectType,
        objectSizeBits: 8 * (object.secret?.byteLength ?? 0),
        maxObjectSizeBits: object.maxObjectSizeBits,
        objectUsage: object.usage,
        dataSizeBytes: 0,
        dataPosition: 0,
        handleFlags: object.secret === undefined ? 0 : HANDLE_FLAG.INITIALIZED,
      };
    });
  }

  /** Takes TEE_USAGE_* bits away, from a persistent object for good. */
  restrictUsage(handle: number, usage: number): void {
    permitting('TEE_RestrictObjectUsage1', () => {
      const object = this.#handles.get(handle);
      if (object.kind === 'transient') {
        object.usage = (object.usage & usage) >>> 0;
        return;
      }
      const objectUsage = (object.shared.usage & usage) >>> 0;
      const stored = closing(handle, this.#closer, () => readOpen(object));
      object.place.write({ ...stored, objectUsage });
      object.shared.usage = objectUsage;
    });
  }

  /** Gives everything back that this instance has open. */
  closeAll(): void {
    for (const object of this.#handles.takeAll()) {
      if (object.kind === 'persistent') this.#open.release(object.shared);
    }
  }

  readonly #closer = (handle: number): void => {
    this.#close(handle);
  };

  #close(handle: number): void {
    const object = this.#handles.get(handle);
    this.#handles.delete(handle);
    if (object.kind === 'persistent') this.#open.release(object.shared);
  }

  #create(
    { storageId, id, flags }: { storageId: number; id: ObjectId; flags: number },
    stored: StoredObject,
  ): PersistentObject {
    assertFlags(flags, CREATE_FLAGS);
    const place = this.#places.at(storageId, id);
    this.#handles.assertRoom();
    this.#open.assertShared(place.key, flags);
    const mayReplace = (flags & OVERWRITE) !== 0;
    if (!mayReplace && (this.#open.isOpen(place.key) || place.exists())) {
      throw new StorageFailure(TEE.ACCESS_CONFLICT, 'there is such an object already');
    }
    if (mayReplace) place.overwrite(stored);
    else place.write(stored);
    return this.#claim(place, flags, stored);
  }

  #claim(place: Place, flags: number, stored: StoredObject): PersistentObject {
    this.#handles.assertRoom();
    const { objectUsage, data, ...head } = stored;
    const shared = this.#open.claim(place.key, flags);
    shared.usage = objectUsage;
    const dataSizeBytes = data.byteLength;
    return { kind: 'persistent', place, shared, flags, head, dataSizeBytes, dataPosition: 0 };
  }

  #newObject(attributes: number | undefined, data: Uint8Array = new Uint8Array(0)): StoredObject {
    if (attributes === undefined || attributes === 0) return { ...DATA_OBJECT, data };
    const object = this.#handles.get(attributes);
    if (object.kind === 'persistent') {
      return { ...object.head, objectUsage: object.shared.usage, data };
    }
    if (object.secret === undefined) {
      throw new StorageFailure(TEE.BAD_PARAMETERS, 'the attributes are of no initialised object');
    }
    return {
      objectType: object.objectType,
      objectSizeBits: 8 * object.secret.byteLength,
      maxObjectSizeBits: object.maxObjectSizeBits,
      objectUsage: object.usage,
      haveAttributes: 1,
      attributes: encodeSecret(object.secret),
      data,
    };
  }

  #forChange(handle: number): PersistentObject {
    const object = this.#handles.persistent(handle);
    if ((object.flags & ACCESS_WRITE_META) !== 0) return object;
    throw new StorageFailure(TEE.BAD_STATE, 'the object is not open with ACCESS_WRITE_META');
  }
}

function infoOf(object: PersistentObject): ObjectInfo {
  const { objectType, objectSizeBits, maxObjectSizeBits } = object.head;
  const { PERSISTENT, INITIALIZED } = HANDLE_FLAG;
  return {
    objectType,
    objectSizeBits,
    maxObjectSizeBits,
    objectUsage: object.shared.usage,
    dataSizeBytes: object.dataSizeBytes,
    dataPosition: object.dataPosition,
    handleFlags: object.flags | PERSISTENT | INITIALIZED,
  };
}

function assertFlags(flags: number, valid: number): void {
  if ((flags & ~valid) === 0) return;
  throw new StorageFailure(TEE.BAD_PARAMETERS, `no flags 0x${(flags >>> 0).toString(16)} here`);
}
