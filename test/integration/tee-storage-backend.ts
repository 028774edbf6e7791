/** The storages that a test kills or tampers with, by name. */
import { join } from 'node:path';

import {
  BackendFailure,
  openBackends,
  openDisks,
  type StorageBackends,
} from '../tee/secure-world/storage/backends.ts';
import { StorageFailure } from '../tee/secure-world/storage/trusted-storage.ts';
import { HUK } from '../unit/tee/storage/fixture.ts';

/** `anchored`: a REE-FS whose root hash is in an RPMB. */
export type Backend = 'ree' | 'anchored' | 'rpmb';

/**
 * Opens a storage of this kind; what it needs besides is in the same directory.
 *
 * @throws StorageFailure as the backend does
 */
export function openBackend(backend: Backend, directory: string): StorageBackends {
  const kind = backend === 'rpmb' ? 'rpmb' : 'ree';
  const disks = {
    ...(kind === 'ree' && { ree: directory }),
    ...(backend !== 'ree' && { rpmb: join(directory, 'rpmb') }),
  };
  try {
    return { ...openBackends(HUK, openDisks(disks)), private: kind };
  } catch (error) {
    if (error instanceof BackendFailure && error.cause instanceof StorageFailure) throw error.cause;
    throw error;
  }
}
