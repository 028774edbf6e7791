/** Published images on disk, by content: `images/SHA256`. Never held in memory as a whole. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, readdirSync, rmSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';

import { reasonOf, Refusal } from '../failure.ts';
import { makeDirectory, syncDirectory } from './state-file.ts';

export interface ImageFile {
  readonly lengthBytes: number;
  readonly sha256: string;
  readonly sha512: string;
}

const CHUNK_BYTES = 1024 * 1024;
const INCOMING = '.incoming-';

export class ImageFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    makeDirectory(directory);
    for (const name of readdirSync(directory)) {
      if (name.startsWith(INCOMING)) rmSync(join(directory, name));
    }
  }

  pathOf(sha256: string): string {
    return join(this.#directory, sha256);
  }

  remove(sha256: string): void {
    rmSync(this.pathOf(sha256), { force: true });
  }

  /**
   * Copies a file in, hashing on the way, and syncs it.
   *
   * @throws Refusal 400 `image_unreadable` when `source` cannot be read
   */
  async add(source: string): Promise<ImageFile> {
    const incoming = join(this.#directory, `${INCOMING}${randomUUID()}`);
    try {
      const file = await copyHashed(source, incoming);
      await rename(incoming, this.pathOf(file.sha256));
      syncDirectory(this.#directory);
      return file;
    } catch (cause) {
      rmSync(incoming, { force: true });
      throw new Refusal(400, 'image_unreadable', `cannot take ${source}: ${reasonOf(cause)}`, {
        cause,
      });
    }
  }
}

async function copyHashed(source: string, destination: string): Promise<ImageFile> {
  const sha256 = createHash('sha256');
  const sha512 = createHash('sha512');
  let lengthBytes = 0;
  const file = await open(destination, 'wx', 0o600);
  try {
    for await (const chunk of createReadStream(source, { highWaterMark: CHUNK_BYTES })) {
      const bytes = chunk as Buffer;
      sha256.update(bytes);
      sha512.update(bytes);
      lengthBytes += bytes.length;
      await file.write(bytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { lengthBytes, sha256: sha256.digest('hex'), sha512: sha512.digest('hex') };
}
