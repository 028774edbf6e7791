/**
 * This TA's share of trusted storage: token records and objects.
 *
 * A record that cannot be read or written leaves the TA in a state that nobody chose, so that failure
 * is not caught here: it kills the instance. An object is caught: the rest of the token still works.
 *
 * Source: OP-TEE ta/pkcs11/src/persistent_token.c.
 */
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  type TrustedStorage,
} from '../storage/trusted-storage.ts';
import { encodeWhole, readWhole, replaceWhole } from '../storage/whole-object.ts';
import { CKR, PKCS11_TA_UUID } from './abi.ts';
import { ArgReader } from './args.ts';
import { Attributes, readAttributeList } from './attributes.ts';
import { TaFailure } from './failure.ts';
import {
  decodeRecord,
  encodeRecord,
  FACTORY_RECORD,
  isRecordId,
  recordId,
  type TokenRecord,
} from './token-record.ts';

export interface NewObject {
  /** Identifier in trusted storage, 16 random bytes. */
  readonly id: Uint8Array;
  readonly attributes: Attributes;
}

export class ObjectStore {
  readonly #storage: TrustedStorage;

  constructor(storage: TrustedStorage) {
    this.#storage = storage;
  }

  /** A slot that was never used gets its factory record. */
  loadRecord(slot: number): TokenRecord {
    const stored = readWhole(this.#storage, PKCS11_TA_UUID, recordId(slot));
    if (stored !== undefined) return decodeRecord(stored);
    this.saveRecord(slot, FACTORY_RECORD);
    return FACTORY_RECORD;
  }

  saveRecord(slot: number, record: TokenRecord): void {
    replaceWhole(this.#storage, PKCS11_TA_UUID, { id: recordId(slot), data: encodeRecord(record) });
  }

  /** @returns `undefined` for an object that is gone, was tampered with, or is none */
  loadObject(id: Uint8Array): Attributes | undefined {
    const bytes = this.#read(id);
    if (bytes === undefined) return undefined;
    try {
      return new Attributes(readAttributeList(new ArgReader(bytes)));
    } catch (failure) {
      if (failure instanceof TaFailure) return undefined;
      throw failure;
    }
  }

  /** @throws TaFailure DEVICE_MEMORY when storage refuses; what was stored is as it was */
  saveObject(id: Uint8Array, attributes: Attributes): void {
    try {
      replaceWhole(this.#storage, PKCS11_TA_UUID, { id, data: attributes.serialize() });
    } catch (cause) {
      if (cause instanceof StorageFailure) throw new TaFailure(CKR.DEVICE_MEMORY, { cause });
      throw cause;
    }
  }

  /**
   * Stores new objects, and then the record that claims them; at once where storage can do that. Cut
   * in between, nobody owns them and they are swept at start.
   *
   * @throws TaFailure DEVICE_MEMORY when storage refuses; what was stored is as it was
   */
  saveClaimed(slot: number, objects: readonly NewObject[], record: TokenRecord): void {
    const written = objects.map(({ id, attributes }) => ({
      id,
      data: encodeWhole(attributes.serialize()),
    }));
    const claim = { id: recordId(slot), data: encodeWhole(encodeRecord(record)) };
    try {
      if (this.#storage.writeAll !== undefined) {
        this.#storage.writeAll(PKCS11_TA_UUID, [...written, claim]);
        return;
      }
      for (const { id, data } of written) this.#storage.write(PKCS11_TA_UUID, id, data);
    } catch (cause) {
      if (!(cause instanceof StorageFailure)) throw cause;
      // Storage that is in doubt refuses this as well, and that is a panic: nobody knows what is so.
      for (const { id } of written) this.#storage.remove(PKCS11_TA_UUID, id);
      throw new TaFailure(CKR.DEVICE_MEMORY, { cause });
    }
    this.saveRecord(slot, record);
  }

  removeObject(id: Uint8Array): void {
    this.#storage.remove(PKCS11_TA_UUID, id);
  }

  /**
   * Removes what no token claims: objects that a power cut left without an owner. A token whose slot
   * is not there today claims as the others do.
   */
  sweep(): void {
    const ids = this.#storage.list(PKCS11_TA_UUID);
    const records = ids.filter(isRecordId);
    const claimed = new Set(records.flatMap((id) => this.#claimedBy(id)).map(hex));
    for (const id of ids) if (!isRecordId(id) && !claimed.has(hex(id))) this.removeObject(id);
  }

  #claimedBy(record: Uint8Array): readonly Uint8Array[] {
    const stored = readWhole(this.#storage, PKCS11_TA_UUID, record);
    return stored === undefined ? [] : decodeRecord(stored).objectIds;
  }

  #read(id: Uint8Array): Uint8Array | undefined {
    try {
      return readWhole(this.#storage, PKCS11_TA_UUID, id);
    } catch (cause) {
      const isTampered =
        cause instanceof StorageFailure && cause.result === TEE_ERROR_CORRUPT_OBJECT;
      if (isTampered) return undefined;
      throw cause;
    }
  }
}

function hex(id: Uint8Array): string {
  return Buffer.from(id).toString('hex');
}
