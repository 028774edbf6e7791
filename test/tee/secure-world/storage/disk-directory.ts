/** A directory of plain files, and the one place where the system's errors become the TEE's. */
import fs from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';

import { MAX_FILE_BYTES, type BlockDirectory, type BlockFile, type Placed } from './block-file.ts';
import { lockDirectory } from './directory-lock.ts';
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
  TEE_ERROR_STORAGE_NOT_AVAILABLE,
} from './trusted-storage.ts';

const { O_RDONLY, O_RDWR, O_CREAT, O_TRUNC, O_NOFOLLOW, O_DIRECTORY } = fs.constants;

/**
 * Opens a directory, makes it when there is none, and keeps every other process out of it.
 *
 * @throws StorageFailure TEE_ERROR_STORAGE_NOT_AVAILABLE when it is in use or can't be used
 */
export function openDirectory(directory: string): BlockDirectory {
  return translated(`open ${directory}`, () => {
    makeDurably(path.resolve(directory));
    const unlock = lockDirectory(directory);
    try {
      return new DiskDirectory(directory, unlock);
    } catch (error) {
      unlock();
      throw error;
    }
  });
}

class DiskDirectory implements BlockDirectory {
  readonly #path: string;
  readonly #unlock: () => void;
  readonly #fd: number;

  constructor(directory: string, unlock: () => void) {
    this.#path = directory;
    this.#unlock = unlock;
    this.#fd = fs.openSync(directory, O_RDONLY | O_DIRECTORY);
  }

  names(): readonly string[] {
    return translated(`list ${this.#path}`, () => fs.readdirSync(this.#path));
  }

  create(name: string): BlockFile {
    const file = path.join(this.#path, name);
    return translated(`create ${file}`, () => openFile(file, O_CREAT | O_TRUNC));
  }

  open(name: string): BlockFile | undefined {
    const file = path.join(this.#path, name);
    try {
      return openFile(file, 0);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw failure(`open ${file}`, error);
    }
  }

  rename(from: string, to: string): void {
    const [source, target] = [path.join(this.#path, from), path.join(this.#path, to)];
    translated(`rename ${source}`, () => {
      fs.renameSync(source, target);
    });
  }

  unlink(name: string): void {
    const file = path.join(this.#path, name);
    translated(`remove ${file}`, () => {
      fs.rmSync(file, { force: true });
    });
  }

  sync(): void {
    translated(`sync ${this.#path}`, () => {
      fs.fsyncSync(this.#fd);
    });
  }

  close(): void {
    fs.closeSync(this.#fd);
    this.#unlock();
  }
}

class DiskFile implements BlockFile {
  readonly #path: string;
  readonly #fd: number;

  constructor(file: string, fd: number) {
    this.#path = file;
    this.#fd = fd;
  }

  read(): Uint8Array {
    return translated(`read ${this.#path}`, () => {
      const { size } = fs.fstatSync(this.#fd);
      if (size > MAX_FILE_BYTES) {
        const what = `${this.#path}: has ${String(size)} bytes`;
        throw new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, what);
      }
      const bytes = new Uint8Array(size);
      let done = 0;
      for (let got = -1; got !== 0 && done < size; done += got) {
        got = fs.readSync(this.#fd, bytes, done, size - done, done);
      }
      return bytes.subarray(0, done);
    });
  }

  write({ offsetBytes, bytes }: Placed): void {
    translated(`write ${this.#path}`, () => {
      for (let done = 0; done < bytes.byteLength;) {
        done += fs.writeSync(this.#fd, bytes, done, bytes.byteLength - done, offsetBytes + done);
      }
    });
  }

  sync(): void {
    translated(`sync ${this.#path}`, () => {
      fs.fdatasyncSync(this.#fd);
    });
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

/** A storage is as durable as the names of the directories that lead to it. */
function makeDurably(directory: string): void {
  const first = fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = path.dirname(made)) {
    const parent = fs.openSync(path.dirname(made), O_RDONLY | O_DIRECTORY);
    try {
      fs.fsyncSync(parent);
    } finally {
      fs.closeSync(parent);
    }
  }
}

function openFile(file: string, moreFlags: number): DiskFile {
  return new DiskFile(file, fs.openSync(file, O_RDWR | O_NOFOLLOW | moreFlags, 0o600));
}

function translated<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw failure(what, error);
  }
}

function failure(what: string, cause: unknown): StorageFailure {
  if (cause instanceof StorageFailure) return cause;
  const errno = errnoOf(cause);
  const isFull = errno === 'ENOSPC' || isOverQuota(cause);
  const result = isFull ? TEE_ERROR_STORAGE_NO_SPACE : TEE_ERROR_STORAGE_NOT_AVAILABLE;
  return new StorageFailure(result, `cannot ${what}: ${errno}`, { cause });
}

/** Node has no name for this one. */
function isOverQuota(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && error.errno === -constants.errno.EDQUOT;
}

function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
