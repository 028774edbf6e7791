/**
 * The types of objects: what sizes they come in and what they hold.
 *
 * Served are data and secret keys, whose one attribute is TEE_ATTR_SECRET_VALUE. Objects of any other
 * type, which a real OP-TEE may have stored, keep their attributes as they are.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 tables 5-9 and 6-8; OP-TEE 4.10
 * core/tee/tee_svc_cryp.c.
 */
import { StorageFailure, TEE_ERROR_CORRUPT_OBJECT } from '../storage/trusted-storage.ts';

/** In bits. */
interface Sizes {
  readonly min: number;
  readonly max: number;
  readonly step: number;
}

const SECRET_TYPES: ReadonlyMap<number, Sizes> = new Map([
  [0xa000_0000, { min: 8, max: 4096, step: 8 }], // GENERIC_SECRET
  [0xa000_0010, { min: 128, max: 256, step: 64 }], // AES
  [0xa000_0001, { min: 64, max: 512, step: 8 }], // HMAC_MD5
  [0xa000_0002, { min: 80, max: 512, step: 8 }], // HMAC_SHA1
  [0xa000_0003, { min: 112, max: 512, step: 8 }], // HMAC_SHA224
  [0xa000_0004, { min: 192, max: 1024, step: 8 }], // HMAC_SHA256
  [0xa000_0005, { min: 256, max: 1024, step: 8 }], // HMAC_SHA384
  [0xa000_0006, { min: 256, max: 1024, step: 8 }], // HMAC_SHA512
]);

export function isSecretType(objectType: number): boolean {
  return SECRET_TYPES.has(objectType);
}

export function isSizeOf(objectType: number, sizeBits: number): boolean {
  const sizes = SECRET_TYPES.get(objectType);
  if (sizes === undefined) return sizeBits === 0;
  return sizeBits >= sizes.min && sizeBits <= sizes.max && sizeBits % sizes.step === 0;
}

/** Its length, 4 bytes with the first highest, and the value. */
export function encodeSecret(value: Uint8Array): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(value.byteLength);
  return Buffer.concat([size, value]);
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it is not what `encodeSecret` makes */
export function decodeSecret(attributes: Uint8Array): Uint8Array {
  const bytes = Buffer.from(attributes);
  if (bytes.byteLength >= 4 && bytes.readUInt32BE() === bytes.byteLength - 4) {
    return new Uint8Array(bytes.subarray(4));
  }
  throw new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, 'the secret value is not as long as it says');
}
