/** Which file systems there are, and which one TEE_STORAGE_PRIVATE means. */
import type { TrustedStorage } from './trusted-storage.ts';

export interface Backends {
  readonly ree?: TrustedStorage;
  readonly rpmb?: TrustedStorage;
  readonly private: 'ree' | 'rpmb';
}
