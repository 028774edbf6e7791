/**
 * A persistent object as it is stored: struct tee_svc_storage_head, 24 bytes, then its attributes,
 * then its data stream. File systems are given the whole and know nothing of its parts.
 *
 * Source: OP-TEE 4.10 core/tee/tee_svc_storage.c.
 */
import { StorageFailure, TEE_ERROR_CORRUPT_OBJECT } from './trusted-storage.ts';

export interface StoredObject {
  /** TEE_TYPE_*, GlobalPlatform TEE Internal Core API v1.3 §6.1.1. */
  readonly objectType: number;
  readonly objectSizeBits: number;
  readonly maxObjectSizeBits: number;
  /** TEE_USAGE_*. */
  readonly objectUsage: number;
  /** Which attributes of the type are there: one bit each, in OP-TEE's order of them. */
  readonly haveAttributes: number;
  /** As OP-TEE serializes them. */
  readonly attributes: Uint8Array;
  readonly data: Uint8Array;
}

export const TEE_TYPE_DATA = 0xa000_00bf;
export const TEE_USAGE_DEFAULT = 0xffff_ffff;

/** An object that holds a data stream alone. */
export const DATA_OBJECT: Omit<StoredObject, 'data'> = {
  objectType: TEE_TYPE_DATA,
  objectSizeBits: 0,
  maxObjectSizeBits: 0,
  objectUsage: TEE_USAGE_DEFAULT,
  haveAttributes: 0,
  attributes: new Uint8Array(0),
};

const HEAD_BYTES = 24;

export function encodeObject(object: StoredObject): Uint8Array {
  const head = Buffer.alloc(HEAD_BYTES);
  [
    object.attributes.byteLength,
    object.objectSizeBits,
    object.maxObjectSizeBits,
    object.objectUsage,
    object.objectType,
    object.haveAttributes,
  ].forEach((field, index) => head.writeUInt32LE(field, 4 * index));
  return Buffer.concat([head, object.attributes, object.data]);
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it ends within its head or attributes */
export function decodeObject(bytes: Uint8Array): StoredObject {
  const object = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const attributesBytes = object.byteLength < HEAD_BYTES ? Infinity : object.readUInt32LE(0);
  const dataAt = HEAD_BYTES + attributesBytes;
  if (dataAt > object.byteLength) {
    const what = `an object of ${String(object.byteLength)} bytes ends within its head or attributes`;
    throw new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, what);
  }
  return {
    objectSizeBits: object.readUInt32LE(4),
    maxObjectSizeBits: object.readUInt32LE(8),
    objectUsage: object.readUInt32LE(12),
    objectType: object.readUInt32LE(16),
    haveAttributes: object.readUInt32LE(20),
    attributes: new Uint8Array(object.subarray(HEAD_BYTES, dataAt)),
    data: new Uint8Array(object.subarray(dataAt)),
  };
}
