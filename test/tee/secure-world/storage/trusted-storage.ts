/**
 * Trusted storage as a TA needs it: named objects of one TA, whole.
 *
 * Everything is encrypted and authenticated before it reaches the normal world's disk, bound to the
 * TA and to the hardware unique key. A write is atomic and durable when it returns: after a power cut
 * the object is the old one or the new one.
 */
export interface TrustedStorage {
  /**
   * @returns the object's bytes, or `undefined` when there is none
   * @throws StorageFailure with `result` TEE_ERROR_CORRUPT_OBJECT when it was tampered with
   */
  read(ta: TaUuid, id: Uint8Array): Uint8Array | undefined;
  /**
   * Creates or replaces an object.
   *
   * @param id - 0 to 64 bytes
   * @throws StorageFailure with `result` TEE_ERROR_STORAGE_NO_SPACE when the disk is full
   */
  write(ta: TaUuid, id: Uint8Array, data: Uint8Array): void;
  /**
   * Creates or replaces several objects: after a power cut all are old or all are new.
   *
   * A backend that cannot promise it does not have it.
   *
   * @param objects - no identifier twice
   * @throws StorageFailure as `write` does
   */
  writeAll?(ta: TaUuid, objects: readonly StoredObject[]): void;
  /** @returns whether there was one */
  remove(ta: TaUuid, id: Uint8Array): boolean;
  /** Identifiers of the TA's objects, in the order they were created. */
  list(ta: TaUuid): readonly Uint8Array[];
  close(): void;
}

export interface StoredObject {
  readonly id: Uint8Array;
  readonly data: Uint8Array;
}

/** RFC 4122 text form, lower case. */
export type TaUuid = string;

/** GlobalPlatform TEE Internal Core API v1.3 §3.3.3, and OP-TEE's for RPMB. */
export const TEE_ERROR_CORRUPT_OBJECT = 0xf010_0001;
export const TEE_ERROR_STORAGE_NOT_AVAILABLE = 0xf010_0003;
export const TEE_ERROR_STORAGE_NO_SPACE = 0xffff_3041;
export const TEE_ERROR_SECURITY = 0xffff_000f;

export class StorageFailure extends Error {
  override readonly name = 'StorageFailure';
  /** The TEE_Result a TA sees. */
  readonly result: number;

  constructor(result: number, what: string, options?: ErrorOptions) {
    super(`${what} (0x${result.toString(16).padStart(8, '0')})`, options);
    this.result = result;
  }
}
