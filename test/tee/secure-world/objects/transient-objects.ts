/**
 * Transient objects, as far as persistent ones are made of them: secret keys.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 §5.6.
 */
import { randomBytes } from 'node:crypto';

import { TEE_USAGE_DEFAULT } from '../storage/object-head.ts';
import { StorageFailure } from '../storage/trusted-storage.ts';
import { TEE } from '../world/results.ts';
import type { ObjectHandles } from './object-handles.ts';
import { decodeSecret, isSecretType, isSizeOf } from './object-types.ts';
import { permitting } from './permitted-results.ts';

/** Everything throws StorageFailure with a result that the function permits, or TaPanic. */
export class TransientObjects {
  readonly #handles: ObjectHandles;

  constructor(handles: ObjectHandles) {
    this.#handles = handles;
  }

  /** @returns a handle, of an object that holds nothing */
  allocate(objectType: number, maxObjectSizeBits: number): number {
    return permitting('TEE_AllocateTransientObject', () => {
      if (!isSecretType(objectType) || !isSizeOf(objectType, maxObjectSizeBits)) {
        const what = `no object of type 0x${objectType.toString(16)} and ${String(maxObjectSizeBits)} bits`;
        throw new StorageFailure(TEE.NOT_SUPPORTED, what);
      }
      const usage = TEE_USAGE_DEFAULT;
      const object = { objectType, maxObjectSizeBits, usage, secret: undefined };
      return this.#handles.add({ kind: 'transient', ...object });
    });
  }

  /** 0 is none. */
  free(handle: number): void {
    permitting('TEE_FreeTransientObject', () => {
      if (handle === 0) return;
      this.#handles.transient(handle);
      this.#handles.delete(handle);
    });
  }

  /** 0 is none. */
  reset(handle: number): void {
    permitting('TEE_ResetTransientObject', () => {
      if (handle === 0) return;
      const object = this.#handles.transient(handle);
      object.secret = undefined;
      object.usage = TEE_USAGE_DEFAULT;
    });
  }

  generateKey(handle: number, sizeBits: number): void {
    permitting('TEE_GenerateKey', () => {
      const object = this.#handles.transient(handle);
      const { objectType, maxObjectSizeBits, secret } = object;
      if (secret !== undefined) {
        throw new StorageFailure(TEE.BAD_STATE, 'the object holds a key already');
      }
      if (sizeBits > maxObjectSizeBits || !isSizeOf(objectType, sizeBits)) {
        throw new StorageFailure(TEE.BAD_PARAMETERS, `no key of ${String(sizeBits)} bits fits`);
      }
      object.secret = new Uint8Array(randomBytes(sizeBits / 8));
    });
  }

  /** The key that an operation is set to: TEE_ATTR_SECRET_VALUE of any object. */
  operationKey(handle: number): Uint8Array {
    return permitting('TEE_SetOperationKey', () => {
      const object = this.#handles.get(handle);
      if (object.kind === 'transient' && object.secret !== undefined) return object.secret.slice();
      if (object.kind === 'persistent' && isSecretType(object.head.objectType)) {
        return decodeSecret(object.head.attributes);
      }
      throw new StorageFailure(TEE.BAD_PARAMETERS, 'the object holds no secret key');
    });
  }
}
