/**
 * Who has which persistent object of a TA open, in all its instances, and whether one more may.
 *
 * Source: OP-TEE 4.10 core/tee/tee_pobj.c; GlobalPlatform TEE Internal Core API v1.3 §5.7.1.
 */
import { StorageFailure } from '../storage/trusted-storage.ts';
import { TEE } from '../world/results.ts';

/** TEE_DATA_FLAG_*. */
export const DATA_FLAG = {
  ACCESS_READ: 0x01,
  ACCESS_WRITE: 0x02,
  ACCESS_WRITE_META: 0x04,
  SHARE_READ: 0x10,
  SHARE_WRITE: 0x20,
  OVERWRITE: 0x400,
} as const;

/** An object that somebody has open. What is here, all its handles see. */
export interface OpenObject {
  readonly flags: number;
  key: string;
  /** TEE_USAGE_*. */
  usage: number;
  handles: number;
}

export class OpenObjects {
  readonly #objects = new Map<string, OpenObject>();

  /**
   * Counts one more handle to an object.
   *
   * @throws StorageFailure TEE_ERROR_ACCESS_CONFLICT when those that have it open do not share it so
   */
  claim(key: string, flags: number): OpenObject {
    this.assertShared(key, flags);
    const object = this.#objects.get(key) ?? { key, flags, usage: 0, handles: 0 };
    object.handles += 1;
    this.#objects.set(key, object);
    return object;
  }

  release(object: OpenObject): void {
    object.handles -= 1;
    if (object.handles === 0) this.#objects.delete(object.key);
  }

  rename(object: OpenObject, key: string): void {
    this.#objects.delete(object.key);
    object.key = key;
    this.#objects.set(key, object);
  }

  isOpen(key: string): boolean {
    return this.#objects.has(key);
  }

  /** Enough to ask the first: whoever came later agrees with it on all that is compared. */
  assertShared(key: string, flags: number): void {
    const known = this.#objects.get(key);
    if (known === undefined || mayShare(known.flags, flags)) return;
    throw new StorageFailure(TEE.ACCESS_CONFLICT, 'the object is open and not shared for this');
  }
}

/** Meta access is exclusive; read and write need both sides' consent, and consent is the same on both. */
function mayShare(one: number, other: number): boolean {
  const { ACCESS_READ, ACCESS_WRITE, ACCESS_WRITE_META, SHARE_READ, SHARE_WRITE } = DATA_FLAG;
  const either = one | other;
  const both = one & other;
  if ((either & ACCESS_WRITE_META) !== 0) return false;
  if ((either & (SHARE_READ | SHARE_WRITE)) !== (both & (SHARE_READ | SHARE_WRITE))) return false;
  const needsRead = (either & ACCESS_READ) !== 0 && (both & SHARE_READ) === 0;
  const needsWrite = (either & ACCESS_WRITE) !== 0 && (both & SHARE_WRITE) === 0;
  return !needsRead && !needsWrite;
}
