/** Where everything is that a device must not forget. */
import { mkdir } from 'node:fs/promises';

import { requireInstaller } from './config-installer.ts';
import type { LoadedSettings } from './config-problem.ts';
import { causeOf, OtaError } from './errors.ts';

/**
 * Makes the storage directory, readable by the agent alone: it holds what the device trusts.
 *
 * @throws OtaError CONFIG_INVALID before anything is made: a mistake in the settings leaves no trace
 * @throws OtaError STORAGE_FAILED
 */
export async function prepareStorage(loaded: LoadedSettings): Promise<void> {
  requireInstaller(loaded);
  const { path } = loaded.settings.storage;
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    const remedy = 'create it for the agent’s user, or set storage.path';
    throw new OtaError('STORAGE_FAILED', { path, cause: causeOf(error), remedy }, { cause: error });
  }
}
