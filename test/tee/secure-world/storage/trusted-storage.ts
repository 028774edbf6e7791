/**
 * Trusted storage as a file system gives it: named objects of one TA, whole, as bytes that mean
 * nothing here (object-head.ts says what they are).
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
   * Gives an object another identifier, atomically and durably; it never replaces an object.
   *
   * @returns `missing` when there is no `from`, else `exists` when there is a `to`
   */
  rename(ta: TaUuid, from: Uint8Array, to: Uint8Array): Renaming;
  /**
   * Creates or replaces several objects: after a power cut all are old or all are new.
   *
   * A backend that cannot promise it does not have it.
   *
   * @param objects - no identifier twice
   * @throws StorageFailure as `write` does
   */
  writeAll?(ta: TaUuid, objects: readonly ObjectBytes[]): void;
  /** @returns whether there was one */
  remove(ta: TaUuid, id: Uint8Array): boolean;
  /**
   * Identifiers of the TA's objects; in the order of creation, but in an RPMB, where a new object takes
   * the first place that is free.
   */
  list(ta: TaUuid): readonly Uint8Array[];
  close(): void;
}

export type Renaming = 'renamed' | 'missing' | 'exists';

/** An object under its identifier, whole. */
export interface ObjectBytes {
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
export const TEE_ERROR_COMMUNICATION = 0xffff_000e;

export class StorageFailure extends Error {
  override readonly name = 'StorageFailure';
  /** The TEE_Result a TA sees. */
  readonly result: number;

  constructor(result: number, what: string, options?: ErrorOptions) {
    super(`${what} (0x${result.toString(16).padStart(8, '0')})`, options);
    this.result = result;
  }
}
