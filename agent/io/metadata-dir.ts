/**
 * Trusted metadata and installed images as a directory, for verification without database.
 *
 * Every file in it is replaced atomically and synced before it counts.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import { Fields, parseJson } from '../decode.ts';
import { causeOf, isOtaError, OtaError } from '../errors.ts';
import type { InstalledImage } from '../uptane/inventory.ts';
import type { Keep } from '../uptane/verify.ts';
import { replaceFile } from './durable-file.ts';
import { syncDirectory } from './image-file.ts';
import { inside, reading } from './served-directory.ts';

const TRUSTED_FOLDERS = ['director', 'image', 'image/delegated'] as const;
const SUFFIX = '.json';
const INSTALLED = 'installed.json';

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
