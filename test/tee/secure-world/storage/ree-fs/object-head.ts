/**
 * The 24 bytes before an object's data: struct tee_svc_storage_head.
 *
 * Source: OP-TEE 4.10 core/tee/tee_svc_storage.c.
 */
import { corrupt, part, type FileImage } from './layout.ts';

const HEAD_BYTES = 24;
/** GlobalPlatform TEE Internal Core API v1.3 §5.4 and §6.1.1: a data object, without attributes. */
const TEE_TYPE_DATA = 0xa000_00bf;
const TEE_USAGE_DEFAULT = 0xffff_ffff;

/** An object that holds only a data stream. */
export function encodeObject(data: Uint8Array): Uint8Array {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(TEE_USAGE_DEFAULT, 12);
  head.writeUInt32LE(TEE_TYPE_DATA, 16);
  return Buffer.concat([head, data]);
}

/**
 * The data stream of an object, whatever attributes are before it.
 *
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the attributes exceed the object
 */
export function decodeObject(object: FileImage): Uint8Array {
  const attributesBytes = part(object, 0, HEAD_BYTES).readUInt32LE(0);
  const dataAt = HEAD_BYTES + attributesBytes;
  if (dataAt > object.bytes.byteLength) throw corrupt(object.name, 'its attributes exceed it');
  return new Uint8Array(object.bytes.subarray(dataAt));
}
