import { trustedStorageContract } from '../../../contract/trusted-storage.contract.ts';
import { openMemoryStorage } from '../../../tee/secure-world/storage/memory-storage.ts';

trustedStorageContract('memory', () => {
  const storage = openMemoryStorage();
  return { storage, reopen: () => storage, remove: () => undefined };
});
