/**
 * Which storages a world has, as CFG_REE_FS, CFG_RPMB_FS and CFG_REE_FS_INTEGRITY_RPMB choose them.
 * Composition only.
 */
import path from 'node:path';

import { openRpmbAnchor } from './anchor.ts';
import type { BlockDirectory } from './block-file.ts';
import { openDirectory } from './disk-directory.ts';
import { openReeFsOn } from './ree-fs.ts';
import { openRpmbFs, type RawFiles } from './rpmb-fs.ts';
import type { ChipParameters } from './rpmb/chip.ts';
import { openRpmbDevice } from './rpmb/device.ts';
import { StorageFailure, type TrustedStorage } from './trusted-storage.ts';

export interface StorageBackends {
  /** TEE_STORAGE_PRIVATE_REE, 0x80000000. */
  readonly ree?: TrustedStorage;
  /** TEE_STORAGE_PRIVATE_RPMB, 0x80000100. */
  readonly rpmb?: TrustedStorage;
  /** TEE_STORAGE_PRIVATE, 1. */
  readonly private: 'ree' | 'rpmb';
}

/** Where the backends are. With an RPMB the REE-FS is anchored in it. */
export type BackendsOptions = {
  /** 16 bytes. */
  readonly huk: Uint8Array;
  /** How a directory is opened; a test puts something between. */
  readonly open?: (directory: string) => BlockDirectory;
} & (
  | {
      readonly private: 'ree';
      readonly reeDirectory: string;
      readonly rpmbDirectory: string | undefined;
    }
  | { readonly private: 'rpmb'; readonly rpmbDirectory: string }
);

/** Of a chip that is made: 4 MiB, and 32 blocks at a time. */
const CHIP: ChipParameters = {
  cid: Buffer.from('700100544545454d550001020304b500', 'hex'),
  sizeMult: 32,
  relWrSecC: 16,
};

/** Says which of the directories did not open. */
export class BackendFailure extends Error {
  override readonly name = 'BackendFailure';
  readonly backend: 'ree' | 'rpmb';
  readonly directory: string;
  /** The TEE_Result of its opening. */
  readonly result: number;

  constructor(backend: 'ree' | 'rpmb', directory: string, cause: StorageFailure) {
    super(cause.message, { cause });
    this.backend = backend;
    this.directory = directory;
    this.result = cause.result;
  }
}

/** @throws BackendFailure when one does not open; none is open then */
export function openBackends(options: BackendsOptions): StorageBackends {
  const { huk, open = openDirectory } = options;
  if (options.private === 'rpmb') {
    return { private: 'rpmb', rpmb: openRpmb(options.rpmbDirectory, huk, open) };
  }
  const { reeDirectory, rpmbDirectory } = options;
  const rpmb = rpmbDirectory === undefined ? undefined : openRpmb(rpmbDirectory, huk, open);
  try {
    const anchor = rpmb && openRpmbAnchor(rpmb);
    const ree = openOn(open, ['ree', reeDirectory], (disk) =>
      openReeFsOn(disk, { huk, ...(anchor && { anchor }) }),
    );
    return { private: 'ree', ree, ...(rpmb && { rpmb }) };
  } catch (error) {
    rpmb?.close();
    throw error;
  }
}

/** The storage behind TEE_STORAGE_PRIVATE. */
export function privateStorage(backends: StorageBackends): TrustedStorage {
  const storage = backends[backends.private];
  if (storage === undefined) throw new RangeError(`there is no ${backends.private} storage`);
  return storage;
}

export function closeBackends({ ree, rpmb }: StorageBackends): void {
  ree?.close();
  rpmb?.close();
}

function openRpmb(
  directory: string,
  huk: Uint8Array,
  open: (directory: string) => BlockDirectory,
): TrustedStorage & RawFiles {
  const place = ['rpmb', directory] as const;
  const device = openOn(open, place, (disk) => openRpmbDevice(disk, CHIP));
  return located(place, () => {
    try {
      return openRpmbFs({ device, huk });
    } catch (error) {
      device.close();
      throw error;
    }
  });
}

type Place = readonly [backend: 'ree' | 'rpmb', directory: string];

function openOn<T>(
  open: (directory: string) => BlockDirectory,
  place: Place,
  use: (disk: BlockDirectory) => T,
): T {
  return located(place, () => {
    const disk = open(path.resolve(place[1]));
    try {
      return use(disk);
    } catch (error) {
      disk.close();
      throw error;
    }
  });
}

function located<T>([backend, directory]: Place, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof StorageFailure)) throw error;
    throw new BackendFailure(backend, directory, error);
  }
}
