/** Which storages a world has, and which of them TEE_STORAGE_PRIVATE means. */
import type { TrustedStorage } from './trusted-storage.ts';

export interface StorageBackends {
  /** TEE_STORAGE_PRIVATE_REE, 0x80000000. */
  readonly ree?: TrustedStorage;
  /** TEE_STORAGE_PRIVATE_RPMB, 0x80000100. */
  readonly rpmb?: TrustedStorage;
  /** TEE_STORAGE_PRIVATE, 1. */
  readonly private: 'ree' | 'rpmb';
}
