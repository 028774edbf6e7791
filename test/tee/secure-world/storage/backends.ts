/**
 * Which storages a world has, as CFG_REE_FS, CFG_RPMB_FS and CFG_REE_FS_INTEGRITY_RPMB choose them.
 * Composition only.
 */
import { resolve } from 'node:path';

import { openRpmbAnchor } from './anchor.ts';
import type { BlockDirectory } from './block-file.ts';
import { openDirectory } from './disk-directory.ts';
import { isReeFsFile, openReeFsOn } from './ree-fs.ts';
import { openRpmbFs, type RawFiles } from './rpmb-fs.ts';
import { CHIP_FILE, type ChipParameters } from './rpmb/chip.ts';
import { openRpmbDevice } from './rpmb/device.ts';
import { StorageFailure, type TrustedStorage } from './trusted-storage.ts';

export type BackendName = 'ree' | 'rpmb';
export const BACKENDS: readonly BackendName[] = ['ree', 'rpmb'];

/** The disks there are, by what is kept on them. */
export type Disks = Readonly<Partial<Record<BackendName, BlockDirectory>>>;

/** Where the disks are; without an RPMB there is no anchor. */
export type DiskDirectories = Readonly<Partial<Record<BackendName, string>>>;

export interface StorageBackends {
  /** TEE_STORAGE_PRIVATE_REE, 0x80000000. */
  readonly ree?: TrustedStorage;
  /** TEE_STORAGE_PRIVATE_RPMB, 0x80000100. */
  readonly rpmb?: TrustedStorage;
  /** TEE_STORAGE_PRIVATE, 1. */
  readonly private: BackendName;
}

/** Which files of a disk are storage; others, the key and the lock, are not. */
export const IS_STORED: Readonly<Record<BackendName, (name: string) => boolean>> = {
  ree: isReeFsFile,
  rpmb: (name) => name === CHIP_FILE,
};

/** Of a chip that is made: 4 MiB, and 32 blocks at a time. */
const CHIP: ChipParameters = {
  cid: Buffer.from('700100544545454d550001020304b500', 'hex'),
  sizeMult: 32,
  relWrSecC: 16,
};

/** Says which of the storages did not open. */
export class BackendFailure extends Error {
  override readonly name = 'BackendFailure';
  readonly backend: BackendName;
  /** The TEE_Result of its opening. */
  readonly result: number;

  constructor(backend: BackendName, cause: StorageFailure) {
    super(cause.message, { cause });
    this.backend = backend;
    this.result = cause.result;
  }
}

/** @throws BackendFailure when one is in use or cannot be used; none is open then */
export function openDisks(directories: DiskDirectories): Disks {
  const disks: Partial<Record<BackendName, BlockDirectory>> = {};
  for (const backend of BACKENDS) {
    const directory = directories[backend];
    if (directory === undefined) continue;
    try {
      disks[backend] = openDirectory(resolve(directory));
    } catch (error) {
      for (const disk of Object.values(disks)) disk.close();
      throw failureOf(backend, error);
    }
  }
  return disks;
}

/**
 * Opens a storage on every disk; with an RPMB the REE-FS is anchored in it. On failure all disks are
 * closed.
 *
 * @param huk - 16 bytes
 * @throws BackendFailure when one does not open
 */
export function openBackends(huk: Uint8Array, disks: Disks): Omit<StorageBackends, 'private'> {
  const rpmb = opening('rpmb', disks.rpmb, {
    open: (disk) => openRpmb(disk, huk),
    otherwise: () => disks.ree?.close(),
  });
  const anchor = rpmb && openRpmbAnchor(rpmb);
  const ree = opening('ree', disks.ree, {
    open: (disk) =>
      closingOnFailure(disk, () => openReeFsOn(disk, { huk, ...(anchor && { anchor }) })),
    otherwise: () => rpmb?.close(),
  });
  return { ...(ree && { ree }), ...(rpmb && { rpmb }) };
}

function openRpmb(disk: BlockDirectory, huk: Uint8Array): TrustedStorage & RawFiles {
  const device = closingOnFailure(disk, () => openRpmbDevice(disk, CHIP));
  return closingOnFailure(device, () => openRpmbFs({ device, huk }));
}

/** The storage behind TEE_STORAGE_PRIVATE. */
export function privateStorage(backends: StorageBackends): TrustedStorage {
  const storage = backends[backends.private];
  if (storage === undefined) throw new RangeError(`there is no ${backends.private} storage`);
  return storage;
}

/** Closes the disks, too. */
export function closeBackends({ ree, rpmb }: Omit<StorageBackends, 'private'>): void {
  ree?.close();
  rpmb?.close();
}

function opening<T>(
  backend: BackendName,
  disk: BlockDirectory | undefined,
  { open, otherwise }: { open: (disk: BlockDirectory) => T; otherwise: () => void },
): T | undefined {
  try {
    return disk && open(disk);
  } catch (error) {
    otherwise();
    throw failureOf(backend, error);
  }
}

function closingOnFailure<T>(resource: { close(): void }, use: () => T): T {
  try {
    return use();
  } catch (error) {
    resource.close();
    throw error;
  }
}

function failureOf(backend: BackendName, error: unknown): unknown {
  return error instanceof StorageFailure ? new BackendFailure(backend, error) : error;
}
