import { trustedStorageContract } from '../../../contract/trusted-storage.contract.ts';
import { CrashDisk } from './crash-disk.ts';
import { openRpmbOn, SMALL_CHIP } from './fixture.ts';

trustedStorageContract(
  'RPMB-FS on a chip in memory',
  () => {
    const disk = new CrashDisk();
    const chip = { ...SMALL_CHIP, sizeMult: 8, relWrSecC: 16 };
    let storage = openRpmbOn(disk, chip);
    return {
      storage,
      reopen: () => {
        storage.close();
        storage = openRpmbOn(disk, chip);
        return storage;
      },
      remove: () => undefined,
    };
  },
  'table',
);
