/** A repository as somebody else's directory: what a server would serve, only read. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';

import { causeOf, isOtaError, OtaError, type Repo } from '../errors.ts';
import { downloadOf, type TrustedTarget } from '../uptane/plan.ts';
import type { Answer } from '../uptane/verify.ts';
import { verifyImageAt } from './image-file.ts';

/** Where a repository is read from. */
export interface Served {
  /**
   * One metadata file.
   *
   * @returns `undefined` if there is no such file
   * @throws OtaError METADATA_TOO_LARGE, FILE_UNREADABLE, GATEWAY_*, DOWNLOAD_TOO_SLOW
   */
  fetchMetadata(file: string, maxBytes: number): Promise<Answer>;
  /**
   * Checks an image that the repository has.
   *
   * Source: Uptane Standard 2.1 §5.4.4.1; every listed hash has to match.
   *
   * @returns whether it is there
   * @throws OtaError IMAGE_TOO_LARGE, IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH, FILE_UNREADABLE,
   * DOWNLOAD_FAILED, DOWNLOAD_TOO_SLOW
   */
  verifyImage(target: TrustedTarget): Promise<boolean>;
  /** Where a file is, for people: a path or a URL. */
  where(file: string): string;
  close(): Promise<void>;
}

const ABSENT: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG']);

export class ServedDirectory implements Served {
  readonly #repo: Repo;
  readonly #path: string;

  private constructor(repo: Repo, path: string) {
    this.#repo = repo;
    this.#path = path;
  }

  /** @throws OtaError FILE_UNREADABLE if it is no directory, or one that cannot be read */
  static async open(repo: Repo, directory: string): Promise<ServedDirectory> {
    const path = resolve(directory);
    const found = await reading(path, () => stat(path));
    if (found?.isDirectory() !== true) throw unreadable(path, 'no such directory');
    await reading(path, () => readdir(path));
    return new ServedDirectory(repo, path);
  }

  async fetchMetadata(file: string, maxBytes: number): Promise<Answer> {
    const path = inside(this.#path, file);
    const lengthBytes = await fileLength(path);
    if (lengthBytes === undefined) return undefined;
    if (lengthBytes > maxBytes) {
      throw new OtaError('METADATA_TOO_LARGE', { repo: this.#repo, file, maxBytes });
    }
    return await reading(path, () => readFile(path));
  }

  async verifyImage(target: TrustedTarget): Promise<boolean> {
    const { filename, imageFile, encrypted } = target;
    const path = inside(this.#path, join('targets', imageFile ?? filename));
    const foundBytes = await fileLength(path);
    if (foundBytes === undefined) return false;
    // An Image repository has the image itself, and a copy of what one device is served its cipher text.
    const wanted = foundBytes === encrypted?.lengthBytes ? downloadOf(target) : target;
    const { lengthBytes } = wanted;
    if (foundBytes > lengthBytes) throw new OtaError('IMAGE_TOO_LARGE', { filename, lengthBytes });
    await reading(path, () => verifyImageAt(path, wanted));
    return true;
  }

  where(file: string): string {
    return join(this.#path, file);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A file from outside that an operator named. @throws OtaError FILE_UNREADABLE */
export async function readNamedFile(path: string, maxBytes: number): Promise<Uint8Array> {
  const lengthBytes = await fileLength(path);
  if (lengthBytes === undefined) throw unreadable(path, 'no such file');
  if (lengthBytes > maxBytes) throw unreadable(path, `more than ${String(maxBytes)} bytes`);
  return (await reading(path, () => readFile(path))) ?? new Uint8Array();
}

/** The second lock on a door that names are checked at: nothing outside `directory` is opened. */
export function inside(directory: string, name: string): string {
  const path = resolve(directory, name);
  if (!path.startsWith(`${directory}${directory.endsWith(sep) ? '' : sep}`)) {
    throw new OtaError('TARGET_NAME_UNSAFE', { filename: name, problem: 'outside its directory' });
  }
  return path;
}

/** Translates what the file system says; "there is none" is an answer. */
export async function reading<T>(path: string, act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (isOtaError(error)) throw error;
    if (error instanceof Error && 'code' in error && ABSENT.has(error.code)) return undefined;
    throw unreadable(path, causeOf(error), error);
  }
}

/** A pipe or a device would never end, so only regular files have a length. */
async function fileLength(path: string): Promise<number | undefined> {
  const found = await reading(path, () => stat(path));
  if (found?.isFile() === false) throw unreadable(path, 'not a regular file');
  return found?.size;
}

function unreadable(path: string, problem: string, cause?: unknown): OtaError<'FILE_UNREADABLE'> {
  const details = { path, what: 'repository or state', cause: problem };
  const remedy = 'check the path and who may read it';
  return new OtaError('FILE_UNREADABLE', { ...details, remedy }, { cause });
}
