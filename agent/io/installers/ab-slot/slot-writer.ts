/** Bytes to a slot as they arrive: hashed, written and synced side by side, in memory that is fixed. */
import type { FileHandle } from 'node:fs/promises';

import type { ImageIdentity } from '../../../uptane/inventory.ts';
import { OtaError } from '../../../errors.ts';
import { writeAt, type ImageDigest } from '../../image-file.ts';

const BUFFER_BYTES = 1024 * 1024;

export interface Checkpoints {
  /** How far apart. */
  readonly everyBytes: number;
  /** Called when the first `lengthBytes` bytes are on the disk, with their digest. */
  keep(lengthBytes: number, digest: string): Promise<void>;
}

export class SlotWriter {
  readonly #handle: FileHandle;
  readonly #content: ImageIdentity;
  /** Of what is in the slot before the current buffer. */
  readonly #digest: ImageDigest;
  readonly #checkpoints: Checkpoints;
  #filling = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #spare = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #used = 0;
  #nextCheckpoint: number;
  #writing = Promise.resolve<Failure>(undefined);
  #syncing = Promise.resolve<Failure>(undefined);

  /** @param digest - of what is there already; writing goes on after it */
  constructor(
    handle: FileHandle,
    content: ImageIdentity,
    digest: ImageDigest,
    checkpoints: Checkpoints,
  ) {
    this.#handle = handle;
    this.#content = content;
    this.#digest = digest;
    this.#checkpoints = checkpoints;
    this.#nextCheckpoint = digest.lengthBytes + checkpoints.everyBytes;
  }

  /**
   * Takes a chunk, which may be used again when the promise has resolved.
   *
   * @throws OtaError IMAGE_TOO_LARGE at the first byte that the image does not have
   */
  async add(chunk: Uint8Array): Promise<void> {
    const { filename, lengthBytes } = this.#content;
    if (this.#digest.lengthBytes + this.#used + chunk.byteLength > lengthBytes) {
      throw new OtaError('IMAGE_TOO_LARGE', { filename, lengthBytes });
    }
    let taken = 0;
    while (taken < chunk.byteLength) {
      const part = chunk.subarray(taken, taken + BUFFER_BYTES - this.#used);
      this.#filling.set(part, this.#used);
      this.#used += part.byteLength;
      taken += part.byteLength;
      if (this.#used === BUFFER_BYTES) await this.#flush();
    }
  }

  /**
   * Proves what was received; all of it is on the disk when the promise resolves.
   *
   * @throws OtaError IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH
   */
  async finish(): Promise<void> {
    await this.#flush();
    await settled(this.#writing);
    await settled(this.#syncing);
    const digest = this.#digest.soFar();
    this.#digest.verify();
    await this.#handle.sync();
    await this.#checkpoints.keep(this.#digest.lengthBytes, digest);
  }

  /** Lets what is under way end: nothing may be written once the slot is closed. */
  async abandon(): Promise<void> {
    await this.#writing;
    await this.#syncing;
  }

  async #flush(): Promise<void> {
    const full = this.#filling.subarray(0, this.#used);
    const position = this.#digest.lengthBytes;
    this.#digest.update(full);
    await settled(this.#writing);
    this.#writing = outcome(writeAt(this.#handle, full, position));
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#used = 0;
    if (this.#digest.lengthBytes >= this.#nextCheckpoint) await this.#checkpoint();
  }

  /** The sync goes on while more arrives, so that neither disk nor network waits for the other. */
  async #checkpoint(): Promise<void> {
    const checkpoints = this.#checkpoints;
    const { lengthBytes } = this.#digest;
    const digest = this.#digest.soFar();
    this.#nextCheckpoint = lengthBytes + checkpoints.everyBytes;
    await settled(this.#writing);
    await settled(this.#syncing);
    this.#syncing = outcome(
      this.#handle.datasync().then(() => checkpoints.keep(lengthBytes, digest)),
    );
  }
}

/** What a promise that nobody waits for yet ended with. */
type Failure = { readonly error: unknown } | undefined;

async function outcome(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return { error };
  }
}

async function settled(promise: Promise<Failure>): Promise<void> {
  const failure = await promise;
  if (failure !== undefined) throw failure.error;
}
