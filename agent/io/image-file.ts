/** Files and block devices that hold one image: hash what is there, write what must be there. */
import { createHash, type Hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';

import { OtaError } from '../errors.ts';
import type { ImageIdentity } from '../uptane/inventory.ts';

const CHUNK_BYTES = 1024 * 1024;

/** Every hash that was signed for an image, computed side by side. */
export class ImageDigest {
  readonly #target: ImageIdentity;
  readonly #hashes: readonly (readonly [string, Hash])[];
  lengthBytes = 0;

  constructor(target: ImageIdentity) {
    this.#target = target;
    this.#hashes = [...target.hashes.keys()].map((name) => [name, createHash(name)] as const);
  }

  update(chunk: Uint8Array): void {
    this.lengthBytes += chunk.byteLength;
    for (const [, hash] of this.#hashes) hash.update(chunk);
  }

  /** The first hash of what there was until now, as `ALGORITHM:HEX`; more may follow. */
  soFar(): string {
    const [name, hash] = this.#hashes[0] ?? [];
    return `${name ?? ''}:${hash?.copy().digest('hex') ?? ''}`;
  }

  /** Whether `verify` would find nothing; more may follow. */
  matches(): boolean {
    const { lengthBytes, hashes } = this.#target;
    const isSigned = ([name, hash]: readonly [string, Hash]): boolean =>
      hash.copy().digest('hex') === hashes.get(name);
    return this.lengthBytes === lengthBytes && this.#hashes.every(isSigned);
  }

  /**
   * Compares with what both repositories signed; every hash must match, not just one.
   *
   * Source: Uptane Standard 2.1 §5.4.5 (verifying images).
   *
   * @throws OtaError IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH
   */
  verify(): void {
    const { filename, lengthBytes, hashes } = this.#target;
    if (this.lengthBytes !== lengthBytes) {
      const receivedBytes = this.lengthBytes;
      throw new OtaError('IMAGE_TRUNCATED', { filename, lengthBytes, receivedBytes });
    }
    for (const [algorithm, hash] of this.#hashes) {
      const signed = hashes.get(algorithm) ?? '';
      const computed = hash.digest('hex');
      if (computed !== signed) {
        throw new OtaError('IMAGE_HASH_MISMATCH', { filename, algorithm, signed, computed });
      }
    }
  }
}

/** The first `lengthBytes` bytes of a file or device, in chunks; ends early where the file does. */
export async function* readBytes(
  handle: FileHandle,
  lengthBytes: number,
): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(lengthBytes, 1)));
  let position = 0;
  while (position < lengthBytes) {
    const wanted = Math.min(chunk.length, lengthBytes - position);
    const { bytesRead } = await handle.read(chunk, 0, wanted, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

/**
 * Proves that a file or device starts with the image.
 *
 * @throws OtaError IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH
 */
export async function verifyImageAt(path: string, target: ImageIdentity): Promise<void> {
  const handle = await open(path, 'r');
  try {
    const digest = new ImageDigest(target);
    for await (const chunk of readBytes(handle, target.lengthBytes)) digest.update(chunk);
    digest.verify();
  } finally {
    await handle.close();
  }
}

/** Writes all of `chunk` at `position`; a short write is continued. */
export async function writeAt(
  handle: FileHandle,
  chunk: Uint8Array,
  position: number,
): Promise<void> {
  let done = 0;
  while (done < chunk.byteLength) {
    const { bytesWritten } = await handle.write(chunk, done, undefined, position + done);
    done += bytesWritten;
  }
}

/** Makes creations, renames and removals in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
