/** Published images on disk, by content: `images/SHA256`. Never held in memory as a whole. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, readdirSync, rmSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';

import { reasonOf, Refusal } from '../failure.ts';
import { pack, type Compression } from './pack.ts';
import { makeDirectory, syncDirectory } from './state-file.ts';

export interface ImageFile {
  readonly lengthBytes: number;
  readonly sha256: string;
  readonly sha512: string;
}

/** A file that is published packed, and what it is when it is not. */
export interface PackedFile extends ImageFile {
  readonly content: ImageFile;
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
   * @param compression - what to pack it with on the way
   * @throws Refusal 400 `image_unreadable` when `source` cannot be read
   */
  async add(source: string, compression?: Compression): Promise<PackedFile> {
    const incoming = join(this.#directory, `${INCOMING}${randomUUID()}`);
    try {
      const file = await copyHashed(source, incoming, compression);
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

async function copyHashed(
  source: string,
  destination: string,
  compression: Compression | undefined,
): Promise<PackedFile> {
  const [content, packed] = [new Hashes(), new Hashes()];
  const file = await open(destination, 'wx', 0o600);
  try {
    const read = content.watch(createReadStream(source, { highWaterMark: CHUNK_BYTES }));
    const sent = compression === undefined ? read : pack(read, compression);
    for await (const bytes of packed.watch(sent)) await file.write(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  return { ...packed.end(), content: content.end() };
}

class Hashes {
  readonly #sha256 = createHash('sha256');
  readonly #sha512 = createHash('sha512');
  #lengthBytes = 0;

  async *watch(chunks: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      const bytes = chunk as Buffer;
      this.#sha256.update(bytes);
      this.#sha512.update(bytes);
      this.#lengthBytes += bytes.length;
      yield bytes;
    }
  }

  end(): ImageFile {
    const [sha256, sha512] = [this.#sha256.digest('hex'), this.#sha512.digest('hex')];
    return { lengthBytes: this.#lengthBytes, sha256, sha512 };
  }
}
