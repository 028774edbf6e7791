/** The storages that a test kills or tampers with, by name. */
import { join } from 'node:path';

import {
  BackendFailure,
  openBackends,
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
  const rpmbDirectory = backend === 'ree' ? undefined : join(directory, 'rpmb');
  try {
    return backend === 'rpmb'
      ? openBackends({ private: 'rpmb', rpmbDirectory: join(directory, 'rpmb'), huk: HUK })
      : openBackends({ private: 'ree', reeDirectory: directory, rpmbDirectory, huk: HUK });
  } catch (error) {
    if (error instanceof BackendFailure && error.cause instanceof StorageFailure) throw error.cause;
    throw error;
  }
}
