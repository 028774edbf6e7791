/** One agent at a time per storage directory. */
import { isOtaError, OtaError } from '../../errors.ts';
import { Database } from './database.ts';

/** Held until released, or until the process ends in whatever way. */
export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes the lock of a storage directory.
 *
 * A file lock that SQLite takes for us: unlike a pid file, kill -9 and a power cut release it.
 *
 * @throws OtaError STORAGE_BUSY if another process holds it
 */
export async function takeLock(storagePath: string): Promise<Lock> {
  const database = await Database.openUnchecked(`${storagePath}/lock.db`);
  try {
    await database.holdExclusively();
  } catch (error) {
    await database.close();
    if (isOtaError(error) && error.code === 'STORAGE_BUSY') {
      const remedy = 'another ota-agent works on it: systemctl stop ota-agent, or wait for it';
      throw new OtaError('STORAGE_BUSY', { path: storagePath, remedy }, { cause: error });
    }
    throw error;
  }
  return { release: () => database.close() };
}
