/** Published images on disk, by content: `images/SHA256`. Never held in memory as a whole. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, readdirSync, rmSync, writeFileSync } from 'node:fs';
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
    try {
      return await this.#keep(() => createReadStream(source, { highWaterMark: CHUNK_BYTES }));
    } catch (cause) {
      throw new Refusal(400, 'image_unreadable', `cannot take ${source}: ${reasonOf(cause)}`, {
        cause,
      });
    }
  }

  /** A published image, made into another on the way. */
  async addFrom(
    sha256: string,
    convert: (bytes: AsyncIterable<Buffer>) => AsyncIterable<Buffer>,
  ): Promise<ImageFile> {
    return this.#keep(() => convert(createReadStream(this.pathOf(sha256))));
  }

  /** What a fault made of an image; it is small, and asked for before the next request is answered. */
  addSpoiled(content: Buffer): ImageFile {
    const digest = (algorithm: string): string =>
      createHash(algorithm).update(content).digest('hex');
    const sha256 = digest('sha256');
    writeFileSync(this.pathOf(sha256), content, { mode: 0o600 });
    return { lengthBytes: content.length, sha256, sha512: digest('sha512') };
  }

  /** @param open - called when its bytes are read: a stream that nobody reads fails on its own */
  async #keep(open: () => AsyncIterable<Buffer>): Promise<ImageFile> {
    const incoming = join(this.#directory, `${INCOMING}${randomUUID()}`);
    try {
      const file = await copyHashed(open, incoming);
      await rename(incoming, this.pathOf(file.sha256));
      syncDirectory(this.#directory);
      return file;
    } catch (cause) {
      rmSync(incoming, { force: true });
      throw cause;
    }
  }
}

async function copyHashed(
  source: () => AsyncIterable<Buffer>,
  destination: string,
): Promise<ImageFile> {
  const sha256 = createHash('sha256');
  const sha512 = createHash('sha512');
  let lengthBytes = 0;
  const file = await open(destination, 'wx', 0o600);
  try {
    for await (const bytes of source()) {
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
