/** The Trusted Storage API on every kind of storage that a test can have in memory. */
import { objectDataContract } from '../../../contract/object-data.contract.ts';
import { trustedObjectsContract } from '../../../contract/trusted-objects.contract.ts';
import type { TrustedStorageFixture } from '../../../contract/trusted-storage.contract.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';
import { CrashDisk } from '../storage/crash-disk.ts';
import { openOn } from '../storage/fixture.ts';

function openMemory(): TrustedStorageFixture {
  const storage = openMemoryStorage();
  return { storage, reopen: () => storage, remove: () => undefined };
}

function openReeFs(): TrustedStorageFixture {
  const disk = new CrashDisk();
  let storage = openOn(disk);
  return {
    storage,
    reopen: () => {
      storage.close();
      storage = openOn(disk);
      return storage;
    },
    remove: () => undefined,
  };
}

for (const contract of [trustedObjectsContract, objectDataContract]) {
  contract('memory', openMemory);
  contract('REE-FS on a disk in memory', openReeFs);
}
