/**
 * A token's persistent record, byte for byte as OP-TEE keeps it in trusted storage. Pure.
 *
 * Source: OP-TEE ta/pkcs11/src/pkcs11_token.h, `struct token_persistent_main` and
 * `struct token_persistent_objs`.
 */
import { CKF, LABEL_BYTES } from './abi.ts';
import { ArgReader, words } from './args.ts';
import { NO_CREDENTIAL, SECRET_BYTES, type Credential } from './pins.ts';

const VERSION = 0;
const STORAGE_ID_BYTES = 16;
const RECORD_ID_BYTES = 32;

export interface TokenRecord {
  /** 32 bytes, padded by whoever chose it. */
  readonly label: Uint8Array;
  readonly flags: number;
  readonly so: Credential;
  readonly user: Credential;
  /** Storage identifiers of the token's objects, oldest first. */
  readonly objectIds: readonly Uint8Array[];
}

export const FACTORY_RECORD: TokenRecord = {
  label: Buffer.alloc(LABEL_BYTES, '*'),
  flags: CKF.RNG | CKF.LOGIN_REQUIRED | CKF.USER_PIN_TO_BE_CHANGED | CKF.SO_PIN_TO_BE_CHANGED,
  so: NO_CREDENTIAL,
  user: NO_CREDENTIAL,
  objectIds: [],
};

/** The name of a slot's record: OP-TEE uses all 32 bytes of a character array. */
export function recordId(slot: number): Uint8Array {
  return Buffer.concat([Buffer.from(`token.db.${String(slot)}`)], RECORD_ID_BYTES);
}

/** Objects have identifiers of 16 bytes. */
export function isRecordId(id: Uint8Array): boolean {
  return id.byteLength === RECORD_ID_BYTES;
}

export function encodeRecord({ label, flags, so, user, objectIds }: TokenRecord): Buffer {
  return Buffer.concat([
    words(VERSION),
    label,
    words(flags, so.failures, so.salt),
    so.secret,
    words(user.failures, user.salt),
    user.secret,
    words(objectIds.length),
    ...objectIds,
  ]);
}

/**
 * Bytes after the object list are allowed: OP-TEE does not cut the record when the list shrinks.
 *
 * @throws Error, which is a panic, for a record of another version or one that is cut short
 */
export function decodeRecord(bytes: Uint8Array): TokenRecord {
  const reader = new ArgReader(bytes);
  const version = reader.u32();
  if (version !== VERSION) throw new Error(`token record version ${String(version)} is not known`);
  const label = Uint8Array.from(reader.bytes(LABEL_BYTES));
  const flags = reader.u32();
  const so = readCredential(reader);
  const user = readCredential(reader);
  const objectIds = Array.from({ length: boundedCount(reader) }, () =>
    Uint8Array.from(reader.bytes(STORAGE_ID_BYTES)),
  );
  return { label, flags, so, user, objectIds };
}

function boundedCount(reader: ArgReader): number {
  const count = reader.u32();
  if (count * STORAGE_ID_BYTES > reader.leftBytes) throw new Error('token record is cut short');
  return count;
}

function readCredential(reader: ArgReader): Credential {
  const failures = reader.u32();
  const salt = reader.u32();
  return { failures, salt, secret: Uint8Array.from(reader.bytes(SECRET_BYTES)) };
}
