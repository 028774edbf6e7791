/** Where a persistent object is: a file system, and an identifier in the share of one TA. */
import type { StorageBackends } from '../storage/backends.ts';
import { decodeObject, encodeObject, type StoredObject } from '../storage/object-head.ts';
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  type TaUuid,
  type TrustedStorage,
} from '../storage/trusted-storage.ts';
import { Memory } from '../world/operation.ts';
import { TEE } from '../world/results.ts';

/** GlobalPlatform TEE Internal Core API v1.3 table 5-2, and OP-TEE's own. */
export const TEE_STORAGE_PRIVATE = 0x0000_0001;
export const TEE_STORAGE_PRIVATE_REE = 0x8000_0000;
export const TEE_STORAGE_PRIVATE_RPMB = 0x8000_0100;

const MAX_ID_BYTES = 64;

type BackendName = StorageBackends['private'];

/** Bytes of the TA's own, or memory that is still the client's, which is refused. */
export type ObjectId = Uint8Array | Memory;

/** The file systems, as one TA sees them. */
export class Places {
  readonly #ta: TaUuid;
  readonly #backends: StorageBackends;

  constructor(ta: TaUuid, backends: StorageBackends) {
    this.#ta = ta;
    this.#backends = backends;
  }

  /**
   * @throws StorageFailure TEE_ERROR_ITEM_NOT_FOUND for a storage that there is not
   * @throws StorageFailure TEE_ERROR_ACCESS_DENIED or _BAD_PARAMETERS, which no function permits, for
   *   an identifier in the client's memory or of more than 64 bytes
   */
  at(storageId: number, id: ObjectId): Place {
    return this.#place(this.#backendOf(storageId), ownId(id));
  }

  /** Another identifier in the same storage; throws as `at` does. */
  beside({ backend }: Place, id: ObjectId): Place {
    return this.#place(backend, ownId(id));
  }

  /** Every object there is now. */
  all(storageId: number): readonly Place[] {
    const backend = this.#backendOf(storageId);
    const ids = this.#storage(backend).list(this.#ta);
    return ids.map((id) => this.#place(backend, id));
  }

  #place(backend: BackendName, id: Uint8Array): Place {
    return new Place({ storage: this.#storage(backend), backend, ta: this.#ta }, id);
  }

  #storage(backend: BackendName): TrustedStorage {
    const storage = this.#backends[backend];
    if (storage !== undefined) return storage;
    throw new StorageFailure(TEE.ITEM_NOT_FOUND, `there is no ${backend} storage`);
  }

  #backendOf(storageId: number): BackendName {
    switch (storageId) {
      case TEE_STORAGE_PRIVATE:
        return this.#backends.private;
      case TEE_STORAGE_PRIVATE_REE:
        return 'ree';
      case TEE_STORAGE_PRIVATE_RPMB:
        return 'rpmb';
      default: {
        const what = `there is no storage 0x${storageId.toString(16)}`;
        throw new StorageFailure(TEE.ITEM_NOT_FOUND, what);
      }
    }
  }
}

interface Share {
  readonly storage: TrustedStorage;
  readonly backend: BackendName;
  readonly ta: TaUuid;
}

export class Place {
  readonly id: Uint8Array;
  readonly #share: Share;

  constructor(share: Share, id: Uint8Array) {
    this.#share = share;
    this.id = id;
  }

  get backend(): BackendName {
    return this.#share.backend;
  }

  /** The same for two storage identifiers that mean one file system. */
  get key(): string {
    return `${this.backend}/${Buffer.from(this.id).toString('hex')}`;
  }

  exists(): boolean {
    const { storage, ta } = this.#share;
    return storage.list(ta).some((id) => Buffer.compare(id, this.id) === 0);
  }

  /** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it was tampered with */
  read(): StoredObject | undefined {
    const bytes = this.#share.storage.read(this.#share.ta, this.id);
    return bytes && decodeObject(bytes);
  }

  /** One durable write. */
  write(object: StoredObject): void {
    this.#share.storage.write(this.#share.ta, this.id, encodeObject(object));
  }

  /** As `write`; an object that is too corrupt to be written over is removed first. */
  overwrite(object: StoredObject): void {
    try {
      this.write(object);
    } catch (error) {
      const isCorrupt =
        error instanceof StorageFailure && error.result === TEE_ERROR_CORRUPT_OBJECT;
      if (!isCorrupt) throw error;
      this.remove();
      this.write(object);
    }
  }

  /** @throws StorageFailure TEE_ERROR_ACCESS_CONFLICT when there is another object */
  rename(to: Place): void {
    const { storage, ta } = this.#share;
    switch (storage.rename(ta, this.id, to.id)) {
      case 'renamed':
        return;
      case 'exists':
        throw new StorageFailure(TEE.ACCESS_CONFLICT, 'there is an object of the new identifier');
      case 'missing':
        throw new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, 'the object is gone');
    }
  }

  remove(): void {
    this.#share.storage.remove(this.#share.ta, this.id);
  }
}

/** A copy: an identifier that can still be changed by somebody is none. */
function ownId(id: ObjectId): Uint8Array {
  if (id instanceof Memory) {
    throw new StorageFailure(TEE.ACCESS_DENIED, "an identifier lies in the client's memory");
  }
  if (id.byteLength <= MAX_ID_BYTES) return id.slice();
  const what = `an identifier of ${String(id.byteLength)} bytes is longer than 64`;
  throw new StorageFailure(TEE.BAD_PARAMETERS, what);
}
