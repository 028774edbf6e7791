/** How a running agent opens images that were encrypted for this device. */
import { join } from 'node:path';

import { findSecretsKey } from '../provisioning/secrets-key.ts';
import { sweepDecrypted, type Decryption } from './io/encrypted/decrypting-installer.ts';
import type { LiveIdentity } from './io/token/live-identity.ts';
import type { Settings } from './settings.ts';

/**
 * What a killed agent left in the clear is removed first: whoever holds the storage works alone.
 *
 * @throws OtaError STORAGE_FAILED
 */
export async function openDecryption(
  { download, storage }: Settings,
  live: LiveIdentity,
): Promise<Decryption> {
  const directory = join(storage.path, 'decrypted');
  await sweepDecrypted(directory);
  return {
    deviceId: live.current.deviceId,
    key: () => findSecretsKey(live.current.token),
    directory,
    reserveBytes: download.reserve,
  };
}
