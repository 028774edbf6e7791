/** This TA's share of trusted storage: a value for each tag. Nothing else here touches storage. */
import type { TrustedStorage } from '../storage/trusted-storage.ts';
import { readWhole, replaceWhole } from '../storage/whole-object.ts';
import { FESTORE_TA_UUID } from './abi.ts';

export class TaggedObjects {
  readonly #storage: TrustedStorage;

  constructor(storage: TrustedStorage) {
    this.#storage = storage;
  }

  /** @throws StorageFailure when what is stored was tampered with, or storage is out of order */
  read(tag: Uint8Array): Uint8Array | undefined {
    return readWhole(this.#storage, FESTORE_TA_UUID, tag);
  }

  /**
   * Creates or replaces: after a power cut there is the old value or the new one.
   *
   * @throws StorageFailure when the disk is full or out of order
   */
  write(tag: Uint8Array, value: Uint8Array): void {
    replaceWhole(this.#storage, FESTORE_TA_UUID, { id: tag, data: value });
  }

  /**
   * @returns whether there was one
   * @throws StorageFailure when storage is out of order
   */
  remove(tag: Uint8Array): boolean {
    return this.#storage.remove(FESTORE_TA_UUID, tag);
  }

  /** Oldest first. */
  tags(): readonly Uint8Array[] {
    return this.#storage.list(FESTORE_TA_UUID);
  }
}
