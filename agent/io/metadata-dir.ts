/**
 * Repositories and trusted metadata as directories, for verification without network or database.
 *
 * A served directory is somebody else's and only read. A state directory is ours: every file in it is
 * replaced atomically and synced before it counts.
 */
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';

import { Fields, parseJson } from '../decode.ts';
import { causeOf, isOtaError, OtaError, type Repo } from '../errors.ts';
import type { InstalledImage } from '../uptane/inventory.ts';
import type { Target } from '../uptane/plan.ts';
import type { Answer, Keep } from '../uptane/verify.ts';
import { replaceFile } from './durable-file.ts';
import { syncDirectory, verifyImageAt } from './image-file.ts';

const ABSENT: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG']);
const TRUSTED_FOLDERS = ['director', 'image', 'image/delegated'] as const;
const SUFFIX = '.json';
const INSTALLED = 'installed.json';

/** What two servers would serve, on disk. */
export class ServedDirectories {
  readonly #paths: Readonly<Record<Repo, string>>;

  constructor(director: string, image: string) {
    this.#paths = { director: resolve(director), image: resolve(image) };
  }

  /** @throws OtaError FILE_UNREADABLE if one of them is no directory */
  async open(): Promise<void> {
    for (const path of Object.values(this.#paths)) {
      const found = await reading(path, () => stat(path));
      if (found?.isDirectory() !== true) throw unreadable(path, 'no such directory');
    }
  }

  /**
   * One metadata file.
   *
   * @returns `undefined` if there is no such file
   * @throws OtaError METADATA_TOO_LARGE, FILE_UNREADABLE
   */
  async fetchMetadata(repo: Repo, file: string, maxBytes: number): Promise<Answer> {
    const path = inside(this.#paths[repo], file);
    const lengthBytes = await fileLength(path);
    if (lengthBytes === undefined) return undefined;
    if (lengthBytes > maxBytes) throw new OtaError('METADATA_TOO_LARGE', { repo, file, maxBytes });
    return await reading(path, () => readFile(path));
  }

  /**
   * Checks an image if it lies under `targets/`.
   *
   * Source: Uptane Standard 2.1 §5.4.4.1; every listed hash has to match.
   *
   * @throws OtaError IMAGE_TOO_LARGE, IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH, FILE_UNREADABLE
   */
  async verifyImage(target: Target): Promise<void> {
    const { filename, imageFile, lengthBytes } = target;
    const path = inside(this.#paths.image, join('targets', imageFile ?? filename));
    const foundBytes = await fileLength(path);
    if (foundBytes === undefined) return;
    if (foundBytes > lengthBytes) throw new OtaError('IMAGE_TOO_LARGE', { filename, lengthBytes });
    await reading(path, () => verifyImageAt(path, target));
  }
}

/** Trusted metadata and installed images, carried from one run to the next. */
export class StateDirectory {
  readonly #path: string;

  constructor(path: string) {
    this.#path = resolve(path);
  }

  /** Creates what is missing. @throws OtaError STORAGE_FAILED */
  async open(): Promise<void> {
    await this.#writing(async () => {
      for (const folder of TRUSTED_FOLDERS) {
        await mkdir(join(this.#path, folder), { recursive: true, mode: 0o700 });
      }
      for (const folder of ['.', ...TRUSTED_FOLDERS]) await syncDirectory(join(this.#path, folder));
    });
  }

  /** Everything trusted, by `REPO/ROLE`. @throws OtaError FILE_UNREADABLE */
  async loadTrusted(): Promise<ReadonlyMap<string, Uint8Array>> {
    const trusted = new Map<string, Uint8Array>();
    for (const folder of TRUSTED_FOLDERS) {
      const path = join(this.#path, folder);
      for (const name of (await reading(path, () => readdir(path))) ?? []) {
        if (!name.endsWith(SUFFIX)) continue;
        const bytes = await reading(join(path, name), () => readFile(join(path, name)));
        if (bytes !== undefined) trusted.set(`${folder}/${name.slice(0, -SUFFIX.length)}`, bytes);
      }
    }
    return trusted;
  }

  /** Durable when it resolves. @throws OtaError STORAGE_FAILED */
  async keep({ repo, role, bytes }: Omit<Keep, 'need'>): Promise<void> {
    const path = inside(this.#path, `${repo}/${role}${SUFFIX}`);
    await this.#writing(async () => {
      // What is kept was parsed before, so it is UTF-8 and survives being text.
      if (bytes !== undefined) return replaceFile(path, Buffer.from(bytes).toString());
      await rm(path, { force: true });
      await syncDirectory(dirname(path));
    });
  }

  /** @throws OtaError STORAGE_CORRUPT, FILE_UNREADABLE */
  async loadInstalled(): Promise<readonly InstalledImage[]> {
    const path = join(this.#path, INSTALLED);
    const bytes = await reading(path, () => readFile(path));
    if (bytes === undefined) return [];
    try {
      return new Fields(parseJson(bytes, INSTALLED), INSTALLED).objects('images').map(readImage);
    } catch (cause) {
      if (!isOtaError(cause)) throw cause;
      const remedy = 'remove it: every image counts as not installed then';
      throw new OtaError('STORAGE_CORRUPT', { path, cause: cause.message, remedy }, { cause });
    }
  }

  /** Replaces the list as a whole. @throws OtaError STORAGE_FAILED */
  async saveInstalled(images: readonly InstalledImage[]): Promise<void> {
    const text = JSON.stringify({ images: images.map(writeImage) }, undefined, 2);
    await this.#writing(() => replaceFile(join(this.#path, INSTALLED), `${text}\n`));
  }

  async #writing(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (cause) {
      const remedy = 'name a directory that can be written with --state';
      const details = { path: this.#path, cause: causeOf(cause), remedy };
      throw new OtaError('STORAGE_FAILED', details, { cause });
    }
  }
}

/** A file from outside that an operator named. @throws OtaError FILE_UNREADABLE */
export async function readNamedFile(path: string, maxBytes: number): Promise<Uint8Array> {
  const lengthBytes = await fileLength(path);
  if (lengthBytes === undefined) throw unreadable(path, 'no such file');
  if (lengthBytes > maxBytes) throw unreadable(path, `more than ${String(maxBytes)} bytes`);
  return readFile(path);
}

function writeImage({
  ecu,
  filename,
  lengthBytes,
  hashes,
  releaseCounter,
}: InstalledImage): object {
  const image = { ecu, filename, length: lengthBytes, hashes: Object.fromEntries(hashes) };
  return releaseCounter === undefined ? image : { ...image, releaseCounter };
}

function readImage(fields: Fields): InstalledImage {
  const hashes = fields.object('hashes');
  const releaseCounter = fields.optionalInteger('releaseCounter', 0);
  return {
    ecu: fields.string('ecu'),
    filename: fields.string('filename'),
    lengthBytes: fields.integer('length', 0),
    hashes: new Map([...hashes.entries()].map(([name]) => [name, hashes.string(name)])),
    ...(releaseCounter === undefined ? {} : { releaseCounter }),
  };
}

/** The second lock on a door that names are checked at: nothing outside `directory` is opened. */
function inside(directory: string, name: string): string {
  const path = resolve(directory, name);
  if (!path.startsWith(`${directory}${directory.endsWith(sep) ? '' : sep}`)) {
    throw new OtaError('TARGET_NAME_UNSAFE', { filename: name, problem: 'outside its directory' });
  }
  return path;
}

/** A pipe or a device would never end, so only regular files have a length. */
async function fileLength(path: string): Promise<number | undefined> {
  const found = await reading(path, () => stat(path));
  if (found?.isFile() === false) throw unreadable(path, 'not a regular file');
  return found?.size;
}

/** Translates what the file system says; "there is none" is an answer. */
async function reading<T>(path: string, act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (isOtaError(error)) throw error;
    if (error instanceof Error && 'code' in error && ABSENT.has(error.code)) return undefined;
    throw unreadable(path, causeOf(error), error);
  }
}

function unreadable(path: string, problem: string, cause?: unknown): OtaError<'FILE_UNREADABLE'> {
  const details = { path, what: 'repository or state', cause: problem };
  const remedy = 'check the path and who may read it';
  return new OtaError('FILE_UNREADABLE', { ...details, remedy }, { cause });
}
