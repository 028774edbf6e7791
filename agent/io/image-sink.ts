/** Where the bytes of an image go: hashed as they are written, in memory that is fixed. */
import type { FileHandle } from 'node:fs/promises';

import type { ImageIdentity } from '../uptane/inventory.ts';
import { ImageDigest, readBytes, writeAt, type Digests } from './image-file.ts';
import { outcome, settled } from './outcome.ts';

const BUFFER_BYTES = 1024 * 1024;

/** What fails once, fails from then on: nothing counts that is behind a gap. */
export interface ImageSink {
  /** How much was hashed, or is on its way to be hashed and written. */
  readonly lengthBytes: number;
  /** Hashes what the file begins with; comes first. Shorter than asked for where the file is. */
  reread(lengthBytes: number): Promise<Digests>;
  /** Forgets what was reread: the image begins anew. */
  restart(): Promise<void>;
  /** Takes a chunk, which may be used again when the promise has resolved. */
  write(chunk: Uint8Array): Promise<void>;
  /** When the first `lengthBytes` bytes are in the file (and not yet on its disk): their digests. */
  mark(): Promise<Digests>;
  /** The same for every byte that was taken. */
  flush(): Promise<Digests>;
  /** Lets what is under way end: nothing is written after it. */
  close(): Promise<void>;
}

/** For images so small that a thread would take longer to start. */
export class DirectSink implements ImageSink {
  readonly #handle: FileHandle;
  readonly #image: ImageIdentity;
  #digest: ImageDigest;
  #filling = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #spare = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #used = 0;
  #writing = outcome(Promise.resolve());

  constructor(handle: FileHandle, image: ImageIdentity) {
    this.#handle = handle;
    this.#image = image;
    this.#digest = new ImageDigest(image);
  }

  get lengthBytes(): number {
    return this.#digest.lengthBytes;
  }

  async reread(lengthBytes: number): Promise<Digests> {
    for await (const chunk of readBytes(this.#handle, lengthBytes)) this.#digest.update(chunk);
    return this.#digest.current();
  }

  restart(): Promise<void> {
    this.#digest = new ImageDigest(this.#image);
    return Promise.resolve();
  }

  async write(chunk: Uint8Array): Promise<void> {
    let taken = 0;
    while (taken < chunk.byteLength) {
      const part = chunk.subarray(taken, taken + BUFFER_BYTES - this.#used);
      this.#filling.set(part, this.#used);
      this.#used += part.byteLength;
      taken += part.byteLength;
      if (this.#used === BUFFER_BYTES) await this.#pass();
    }
  }

  async mark(): Promise<Digests> {
    const digests = this.#digest.current();
    await settled(this.#writing);
    return digests;
  }

  async flush(): Promise<Digests> {
    if (this.#used > 0) await this.#pass();
    return this.mark();
  }

  async close(): Promise<void> {
    await this.#writing;
  }

  /** The write goes on while more arrives, so that neither disk nor network waits for the other. */
  async #pass(): Promise<void> {
    const full = this.#filling.subarray(0, this.#used);
    const position = this.#digest.lengthBytes;
    this.#digest.update(full);
    await settled(this.#writing);
    this.#writing = outcome(writeAt(this.#handle, full, position));
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#used = 0;
  }
}
