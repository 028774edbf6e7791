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

  /** Of what there was until now; more may follow. */
  current(): Digests {
    const hashes = this.#hashes.map(([name, hash]) => [name, hash.copy().digest('hex')] as const);
    return { lengthBytes: this.lengthBytes, hashes: new Map(hashes) };
  }

  /**
   * Compares with what was signed: see `demandImage`.
   *
   * @throws OtaError IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH
   */
  verify(): void {
    demandImage(this.#target, this.current());
  }
}

/** What was computed of some bytes; it proves nothing before it was compared. */
export interface Digests {
  readonly lengthBytes: number;
  /** Algorithm to lower-case hex, for every hash that was signed. */
  readonly hashes: ReadonlyMap<string, string>;
}

/** Whether `demandImage` would find nothing. */
export function isImage(target: ImageIdentity, { lengthBytes, hashes }: Digests): boolean {
  const isSigned = ([name, signed]: readonly [string, string]): boolean =>
    hashes.get(name) === signed;
  return lengthBytes === target.lengthBytes && [...target.hashes].every(isSigned);
}

/**
 * Compares with what both repositories signed; every hash must match, not just one.
 *
 * Source: Uptane Standard 2.1 §5.4.5 (verifying images).
 *
 * @throws OtaError IMAGE_TRUNCATED, IMAGE_HASH_MISMATCH
 */
export function demandImage(target: ImageIdentity, digests: Digests): void {
  const { filename, lengthBytes, hashes } = target;
  if (digests.lengthBytes !== lengthBytes) {
    const receivedBytes = digests.lengthBytes;
    throw new OtaError('IMAGE_TRUNCATED', { filename, lengthBytes, receivedBytes });
  }
  for (const [algorithm, signed] of hashes) {
    const computed = digests.hashes.get(algorithm) ?? '';
    if (computed !== signed) {
      throw new OtaError('IMAGE_HASH_MISMATCH', { filename, algorithm, signed, computed });
    }
  }
}

/** The first of them, as `ALGORITHM:HEX`. */
export function namedDigest({ hashes }: Digests): string {
  const [[name, hash] = ['', '']] = hashes;
  return `${name}:${hash}`;
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
