/**
 * The normal world's disk, as the storage uses it. What is read from it is anybody's, and what is
 * written to it is there after a power cut only when `sync` has returned.
 */
import { StorageFailure } from './trusted-storage.ts';

/** Bytes that belong at a place in a file. */
export interface Placed {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/** Every method throws StorageFailure with TEE_ERROR_STORAGE_NO_SPACE or _NOT_AVAILABLE. */
export interface BlockFile {
  /** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it is larger than any file of ours */
  read(): Uint8Array;
  write(placed: Placed): void;
  /** Waits until all that was written is durable. */
  sync(): void;
  close(): void;
}

/** Every method throws StorageFailure with TEE_ERROR_STORAGE_NO_SPACE or _NOT_AVAILABLE. */
export interface BlockDirectory {
  names(): readonly string[];
  /** An empty file, in place of any other of this name. */
  create(name: string): BlockFile;
  /** @returns `undefined` when there is none */
  open(name: string): BlockFile | undefined;
  rename(from: string, to: string): void;
  /** Succeeds also when there is no such file. */
  unlink(name: string): void;
  /** Waits until creations, renames and removals are durable. */
  sync(): void;
  close(): void;
}

/** Bounds what a hostile normal world can make the secure world load. */
export const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Of a file that is still being written. */
export const DRAFT_SUFFIX = '.new';

/**
 * Makes a file appear under its name, whole and durably: one sync for its data, one for its name.
 *
 * What a crash leaves of it is a draft, which is swept at the next opening.
 */
export function publish(disk: BlockDirectory, name: string, bytes: Uint8Array): void {
  const draft = name + DRAFT_SUFFIX;
  try {
    withFile(disk.create(draft), (file) => {
      file.write({ offsetBytes: 0, bytes });
      file.sync();
    });
    disk.rename(draft, name);
    disk.sync();
  } catch (error) {
    discard(disk, draft);
    throw error;
  }
}

/** Removes what nothing refers to. A failure is no matter: the next opening sweeps it. */
export function discard(disk: BlockDirectory, name: string): void {
  try {
    disk.unlink(name);
    disk.sync();
  } catch (error) {
    if (!(error instanceof StorageFailure)) throw error;
  }
}

export function withFile<T>(file: BlockFile, use: (file: BlockFile) => T): T {
  try {
    return use(file);
  } finally {
    file.close();
  }
}
