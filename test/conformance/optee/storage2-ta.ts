/** The storage suite's second trusted application: the first under another UUID, with objects of its own. */
import type { StorageBackends } from '../../tee/secure-world/storage/backends.ts';
import type { TrustedApp } from '../../tee/secure-world/ta.ts';
import { storageApp } from './storage-ta.ts';

/** `app` of a module that the secure world loads with --ta. */
export function app(backends: StorageBackends): TrustedApp {
  return storageApp('731e279e-aafb-4575-a771-38caa6f0cca6', backends);
}
