/**
 * The Trusted Storage API's functions on the data stream of an open object. What they write is durable
 * and whole when they return: the object as it was, or as it is then.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 §5.9; OP-TEE 4.10 core/tee/tee_svc_storage.c.
 */
import { MAX_FILE_BYTES } from '../storage/block-file.ts';
import type { StoredObject } from '../storage/object-head.ts';
import { StorageFailure, TEE_ERROR_STORAGE_NO_SPACE } from '../storage/trusted-storage.ts';
import { TEE } from '../world/results.ts';
import type { ObjectHandles, PersistentObject } from './object-handles.ts';
import { permitting } from './permitted-results.ts';
import { closing, readOpen } from './reading.ts';
import { DATA_FLAG } from './sharing.ts';

const TEE_DATA_MAX_POSITION = 0xffff_ffff;
/** TEE_DATA_SEEK_SET, _CUR and _END. */
export const SEEK = { SET: 0, CUR: 1, END: 2 } as const;

/** Everything throws StorageFailure with a result that the function permits, or TaPanic. */
export class DataStreams {
  readonly #handles: ObjectHandles;
  readonly #close: (handle: number) => void;

  /** @param close - what closes the handle of an object that turns out to be corrupt */
  constructor(handles: ObjectHandles, close: (handle: number) => void) {
    this.#handles = handles;
    this.#close = close;
  }

  /** @returns fewer bytes than were asked for at the end of the stream, none after it */
  read(handle: number, sizeBytes: number): Uint8Array {
    return permitting('TEE_ReadObjectData', () => {
      const object = this.#openFor(handle, DATA_FLAG.ACCESS_READ);
      const { data } = this.#read(handle, object);
      const bytes = data.slice(object.dataPosition, object.dataPosition + sizeBytes);
      object.dataPosition += bytes.byteLength;
      return bytes;
    });
  }

  /** Between the end of the stream and what is written after it there are zeros. */
  write(handle: number, bytes: Uint8Array): void {
    permitting('TEE_WriteObjectData', () => {
      const object = this.#openFor(handle, DATA_FLAG.ACCESS_WRITE);
      const end = object.dataPosition + bytes.byteLength;
      if (end > TEE_DATA_MAX_POSITION) throw overflow(end);
      if (bytes.byteLength === 0) return;
      assertRoom(end);
      const stored = this.#read(handle, object);
      const data = resized(stored.data, Math.max(end, stored.data.byteLength));
      data.set(bytes, object.dataPosition);
      object.place.write({ ...stored, data });
      object.dataPosition = end;
      object.dataSizeBytes = Math.max(object.dataSizeBytes, end);
    });
  }

  /** Cuts the stream, or lengthens it with zeros; the position stays. */
  truncate(handle: number, sizeBytes: number): void {
    permitting('TEE_TruncateObjectData', () => {
      const object = this.#openFor(handle, DATA_FLAG.ACCESS_WRITE);
      assertRoom(sizeBytes);
      const stored = this.#read(handle, object);
      object.place.write({ ...stored, data: resized(stored.data, sizeBytes) });
      object.dataSizeBytes = sizeBytes;
    });
  }

  /** @param offsetBytes - a position before the start becomes the start */
  seek(handle: number, offsetBytes: number, whence: number): void {
    permitting('TEE_SeekObjectData', () => {
      const object = this.#handles.persistent(handle);
      const position = Math.max(0, originOf(object, whence) + offsetBytes);
      if (position > TEE_DATA_MAX_POSITION) throw overflow(position);
      object.dataPosition = position;
    });
  }

  #openFor(handle: number, access: number): PersistentObject {
    const object = this.#handles.persistent(handle);
    if ((object.flags & access) !== 0) return object;
    throw new StorageFailure(TEE.ACCESS_CONFLICT, 'the object is not open for this');
  }

  #read(handle: number, object: PersistentObject): StoredObject {
    return closing(handle, this.#close, () => readOpen(object));
  }
}

function originOf(object: PersistentObject, whence: number): number {
  switch (whence) {
    case SEEK.SET:
      return 0;
    case SEEK.CUR:
      return object.dataPosition;
    case SEEK.END:
      return object.dataSizeBytes;
    default:
      throw new StorageFailure(TEE.BAD_PARAMETERS, `no TEE_Whence is ${String(whence)}`);
  }
}

/** Before memory is taken for it. */
function assertRoom(sizeBytes: number): void {
  if (sizeBytes <= MAX_FILE_BYTES) return;
  const what = `a data stream of ${String(sizeBytes)} bytes is too large`;
  throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, what);
}

function resized(data: Uint8Array, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(data.subarray(0, sizeBytes));
  return bytes;
}

function overflow(position: number): StorageFailure {
  return new StorageFailure(TEE.OVERFLOW, `there is no position ${String(position)}`);
}
