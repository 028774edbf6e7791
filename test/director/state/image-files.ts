/**
 * Images by content: `images/SHA256`, or an object store for those that are published.
 *
 * What is made for one device alone is always on disk: it is gone soon. Nothing is held in memory as a
 * whole.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';

import { reasonOf, Refusal } from '../failure.ts';
import type { ObjectStore, Span } from './object-store.ts';
import { pack, type Compression } from './pack.ts';
import { makeDirectory, syncDirectory, type Access } from './state-file.ts';

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
const READ_BYTES = 256 * 1024;
/** How files begin that are not whole yet. */
export const INCOMING = '.incoming-';

export class ImageFiles {
  readonly #directory: string;
  readonly #store: ObjectStore | undefined;

  /** @param store - where published images are; absent: in the directory */
  constructor(directory: string, access: Access, store?: ObjectStore) {
    this.#directory = directory;
    this.#store = store;
    if (access === 'read') return;
    makeDirectory(directory);
    for (const name of readdirSync(directory)) {
      if (name.startsWith(INCOMING)) rmSync(join(directory, name));
    }
  }

  /** @throws Refusal 503 `image_store_unavailable` */
  async has(sha256: string): Promise<boolean> {
    return this.#isOnDisk(sha256) || ((await this.#store?.has(sha256)) ?? false);
  }

  /** A part of an image; all of it when none is named. */
  read(sha256: string, span: Span = { start: 0 }): AsyncIterable<Buffer> {
    if (this.#store === undefined || this.#isOnDisk(sha256)) return this.#readFile(sha256, span);
    return this.#store.read(sha256, span);
  }

  /** Writes all of it to a new file that everybody may read, and syncs that. */
  async copyTo(sha256: string, path: string): Promise<void> {
    await copyHashed(() => this.read(sha256), path, 0o644);
  }

  /** What was encrypted for a device, all at once; `undefined` when it is gone. */
  readMade(sha256: string): Buffer | undefined {
    return this.#isOnDisk(sha256) ? readFileSync(this.#pathOf(sha256)) : undefined;
  }

  /** Removes what was encrypted for a device. */
  removeMade(sha256: string): void {
    rmSync(this.#pathOf(sha256), { force: true });
  }

  async remove(sha256: string): Promise<void> {
    this.removeMade(sha256);
    await this.#store?.remove(sha256);
  }

  /**
   * Copies a file in, hashing on the way, and syncs it.
   *
   * @param compression - what to pack it with on the way
   * @throws Refusal 400 `image_unreadable` when `source` cannot be read · 413 `image_too_large` ·
   *   503 `image_store_unavailable`
   */
  async add(source: string, compression?: Compression): Promise<PackedFile> {
    const content = new Hashes();
    const packed = (): AsyncIterable<unknown> => {
      const read = content.watch(createReadStream(source, { highWaterMark: CHUNK_BYTES }));
      return compression === undefined ? read : pack(read, compression);
    };
    try {
      return { ...(await this.#keep(packed, this.#store)), content: content.end() };
    } catch (cause) {
      if (cause instanceof Refusal) throw cause;
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
    return this.#keep(() => convert(this.read(sha256)));
  }

  /** What a fault made of an image; it is small, and asked for before the next request is answered. */
  addSpoiled(content: Buffer): ImageFile {
    const digest = (algorithm: string): string =>
      createHash(algorithm).update(content).digest('hex');
    const sha256 = digest('sha256');
    writeFileSync(this.#pathOf(sha256), content, { mode: 0o600 });
    return { lengthBytes: content.length, sha256, sha512: digest('sha512') };
  }

  /** @param open - called when its bytes are read: a stream that nobody reads fails on its own */
  async #keep(open: () => AsyncIterable<unknown>, store?: ObjectStore): Promise<ImageFile> {
    const incoming = join(this.#directory, `${INCOMING}${randomUUID()}`);
    try {
      const file = await copyHashed(open, incoming);
      if (store === undefined) await rename(incoming, this.#pathOf(file.sha256));
      else {
        await store.put(file.sha256, incoming, file.lengthBytes);
        rmSync(incoming);
      }
      syncDirectory(this.#directory);
      return file;
    } catch (cause) {
      rmSync(incoming, { force: true });
      throw cause;
    }
  }

  async *#readFile(sha256: string, { start, end }: Span): AsyncGenerator<Buffer> {
    if (end !== undefined && start >= end) return;
    const span = { start, ...(end === undefined ? {} : { end: end - 1 }) };
    const file = createReadStream(this.#pathOf(sha256), { ...span, highWaterMark: READ_BYTES });
    for await (const chunk of file) yield chunk as Buffer;
  }

  #pathOf(sha256: string): string {
    return join(this.#directory, sha256);
  }

  #isOnDisk(sha256: string): boolean {
    return existsSync(this.#pathOf(sha256));
  }
}

async function copyHashed(
  source: () => AsyncIterable<unknown>,
  destination: string,
  mode = 0o600,
): Promise<ImageFile> {
  const hashes = new Hashes();
  const file = await open(destination, 'wx', mode);
  try {
    for await (const bytes of hashes.watch(source())) await file.write(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  return hashes.end();
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
