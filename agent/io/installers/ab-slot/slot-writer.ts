/** Bytes to a slot as they arrive: hashed, written and synced side by side, in memory that is fixed. */
import type { FileHandle } from 'node:fs/promises';

import type { ImageIdentity } from '../../../uptane/inventory.ts';
import { OtaError } from '../../../errors.ts';
import { demandImage, namedDigest } from '../../image-file.ts';
import type { ImageSink } from '../../image-sink.ts';
import { outcome, settled } from '../../outcome.ts';

export interface Checkpoints {
  /** How far apart. */
  readonly everyBytes: number;
  /** Called when the first `lengthBytes` bytes are on the disk, with their digest. */
  keep(lengthBytes: number, digest: string): Promise<void>;
}

/** A slot that is open, and what hashes and writes it. */
export interface OpenSlot {
  readonly handle: FileHandle;
  /** Has what is there already; writing goes on after it. */
  readonly sink: ImageSink;
}

export class SlotWriter {
  readonly #slot: OpenSlot;
  readonly #content: ImageIdentity;
  readonly #checkpoints: Checkpoints;
  #taken: number;
  #nextCheckpoint: number;
  #syncing = outcome(Promise.resolve());

  constructor(slot: OpenSlot, content: ImageIdentity, checkpoints: Checkpoints) {
    this.#slot = slot;
    this.#content = content;
    this.#checkpoints = checkpoints;
    this.#taken = slot.sink.lengthBytes;
    this.#nextCheckpoint = this.#taken + checkpoints.everyBytes;
  }

  /**
   * Takes a chunk, which may be used again when the promise has resolved.
   *
   * @throws OtaError IMAGE_TOO_LARGE at the first byte that the image does not have
   */
  async add(chunk: Uint8Array): Promise<void> {
    const { filename, lengthBytes } = this.#content;
    this.#taken += chunk.byteLength;
    if (this.#taken > lengthBytes) throw new OtaError('IMAGE_TOO_LARGE', { filename, lengthBytes });
    const { sink } = this.#slot;
    await sink.write(chunk);
    if (sink.lengthBytes >= this.#nextCheckpoint) await this.#checkpoint();
  }

  /**
   * Proves what was received; all of it is on the disk when the promise resolves.
   *
   * @throws OtaError IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH
   */
  async finish(): Promise<void> {
    const { handle, sink } = this.#slot;
    const digests = await sink.flush();
    await settled(this.#syncing);
    demandImage(this.#content, digests);
    await handle.sync();
    await this.#checkpoints.keep(digests.lengthBytes, namedDigest(digests));
  }

  /** Lets what is under way end: nothing may be written once the slot is closed. */
  async abandon(): Promise<void> {
    await this.#slot.sink.close();
    await this.#syncing;
  }

  /** The sync goes on while more arrives, so that neither disk nor network waits for the other. */
  async #checkpoint(): Promise<void> {
    const { handle, sink } = this.#slot;
    this.#nextCheckpoint = sink.lengthBytes + this.#checkpoints.everyBytes;
    await settled(this.#syncing);
    this.#syncing = outcome(
      sink.mark().then(async (digests) => {
        await handle.datasync();
        await this.#checkpoints.keep(digests.lengthBytes, namedDigest(digests));
      }),
    );
  }
}
