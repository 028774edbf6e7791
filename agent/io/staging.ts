/** The Staging port: images on their way from the network to an installer. */
import { constants } from 'node:fs';
import {
  access,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  type FileHandle,
} from 'node:fs/promises';
import { join } from 'node:path';

import { causeOf, isOtaError, OtaError } from '../errors.ts';
import type { OpenImage, Progress, Staging } from '../ports.ts';
import { downloadOf, type TrustedTarget } from '../uptane/plan.ts';
import { ImageDigest, readBytes, syncDirectory, verifyImageAt, writeAt } from './image-file.ts';
import { limitBytes } from './limit-bytes.ts';

const WRITE_BYTES = 1024 * 1024;

export class StagingDirectory implements Staging {
  readonly #directory: string;
  readonly #reserveBytes: number;
  /** Proven by this process; after a restart each is hashed again. */
  readonly #proven = new Set<string>();

  /** @param reserveBytes - free space that a download must leave */
  constructor(directory: string, reserveBytes: number) {
    this.#directory = directory;
    this.#reserveBytes = reserveBytes;
  }

  /** Of an image that is encrypted the cipher text, which is all that lies here. */
  receive(image: TrustedTarget, open: OpenImage, progress: Progress): Promise<string> {
    const target = downloadOf(image);
    return this.#guarded(target.lengthBytes, () => this.#receive(target, open, progress));
  }

  demandSpace(targets: readonly TrustedTarget[]): Promise<void> {
    return this.#guarded(0, async () => {
      await this.#make();
      // One image may be for several ECUs.
      const images = new Map(
        targets.map(downloadOf).map((target) => [stagedName(target), target.lengthBytes]),
      );
      // One after the other is installed in the clear, from a file below the same storage.
      let missing = Math.max(0, ...targets.map(clearBytes));
      for (const [name, lengthBytes] of images) {
        const path = join(this.#directory, name);
        const found = (await stat(path).catch(() => stat(`${path}.part`).catch(() => undefined)))
          ?.size;
        missing += Math.max(lengthBytes - (found ?? 0), 0);
      }
      if (missing > 0) await this.#demandSpace(missing);
    });
  }

  sweep(targets: readonly TrustedTarget[]): Promise<void> {
    return this.#guarded(0, async () => {
      const wanted = new Set(
        targets.map(downloadOf).flatMap((t) => [stagedName(t), `${stagedName(t)}.part`]),
      );
      const names = await readdir(this.#directory).catch(() => []);
      for (const name of names) {
        if (wanted.has(name)) continue;
        this.#proven.delete(join(this.#directory, name));
        await rm(join(this.#directory, name), { force: true });
      }
    });
  }

  async #receive(target: TrustedTarget, open: OpenImage, progress: Progress): Promise<string> {
    await this.#make();
    const complete = join(this.#directory, stagedName(target));
    if (this.#proven.has(complete) && (await isReadable(complete))) return complete;
    if (await isImage(complete, target)) return complete;
    const partial = `${complete}.part`;
    try {
      await this.#append(partial, target, open, progress);
    } catch (error) {
      // Wrong bytes never get better: the next attempt starts from nothing.
      if (isOtaError(error) && WRONG_BYTES.has(error.code)) await rm(partial, { force: true });
      throw error;
    }
    await rename(partial, complete);
    await syncDirectory(this.#directory);
    this.#proven.add(complete);
    return complete;
  }

  async #make(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
  }

  async #append(
    partial: string,
    target: TrustedTarget,
    openImage: OpenImage,
    progress: Progress,
  ): Promise<void> {
    const handle = await open(partial, 'a+', 0o600);
    try {
      const digest = await resumed(handle, target);
      await this.#demandSpace(target.lengthBytes - digest.lengthBytes);
      const left = target.lengthBytes - digest.lengthBytes;
      const body = limitBytes(openImage(digest.lengthBytes), left, target.filename);
      for await (const chunk of gathered(body)) {
        // Others write as well: what is left for them is asked before each piece, not once.
        await this.#demandSpace(target.lengthBytes - digest.lengthBytes);
        digest.update(chunk);
        await writeAt(handle, chunk, digest.lengthBytes - chunk.byteLength);
        progress(digest.lengthBytes, target.lengthBytes);
      }
      digest.verify();
      await handle.sync();
    } catch (error) {
      const { size } = await handle.stat();
      throw await this.#translated(error, target.lengthBytes - size);
    } finally {
      await handle.close();
    }
  }

  /** What the file system says goes on as what is wrong with the storage. */
  async #guarded<T>(missingBytes: number, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw await this.#translated(error, missingBytes);
    }
  }

  async #demandSpace(neededBytes: number): Promise<void> {
    const freeBytes = await this.#freeBytes();
    if (neededBytes + this.#reserveBytes <= freeBytes) return;
    throw this.#noSpace(neededBytes + this.#reserveBytes, freeBytes);
  }

  async #translated(error: unknown, missingBytes: number): Promise<unknown> {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      return this.#noSpace(missingBytes + this.#reserveBytes, await this.#freeBytes());
    }
    if (isOtaError(error) || typeof code !== 'string' || !code.startsWith('E')) return error;
    const remedy = 'check the file system under storage.path';
    return new OtaError(
      'STORAGE_FAILED',
      { path: this.#directory, cause: causeOf(error), remedy },
      { cause: error },
    );
  }

  async #freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#directory);
    return bavail * bsize;
  }

  #noSpace(neededBytes: number, freeBytes: number): OtaError<'SPACE_INSUFFICIENT'> {
    return new OtaError('SPACE_INSUFFICIENT', { path: this.#directory, neededBytes, freeBytes });
  }
}

const WRONG_BYTES = new Set(['IMAGE_TOO_LARGE', 'IMAGE_HASH_MISMATCH', 'IMAGE_TRUNCATED']);

/** Named by content: the same image for two ECUs is downloaded once, and a new one never resumes an old. */
function stagedName(target: TrustedTarget): string {
  const [entry] = target.hashes;
  return entry === undefined ? 'unhashed' : `${entry[0]}-${entry[1]}`;
}

function clearBytes({ encrypted, lengthBytes }: TrustedTarget): number {
  return encrypted === undefined ? 0 : lengthBytes;
}

/** RAUC makes a plain bundle its own, so that nobody can change it any more. */
async function isReadable(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}

async function isImage(path: string, target: TrustedTarget): Promise<boolean> {
  const exists = await stat(path).catch(() => undefined);
  if (exists === undefined) return false;
  try {
    await verifyImageAt(path, target);
    return true;
  } catch {
    await rm(path, { force: true });
    return false;
  }
}

async function resumed(handle: FileHandle, target: TrustedTarget): Promise<ImageDigest> {
  const digest = new ImageDigest(target);
  const { size } = await handle.stat();
  if (size > target.lengthBytes) await handle.truncate(0);
  for await (const chunk of readBytes(handle, Math.min(size, target.lengthBytes))) {
    digest.update(chunk);
  }
  return digest;
}

/**
 * Network chunks are small; the disk likes large writes. A chunk is valid until the next is asked for.
 * What came before a break is passed on before the break is: a later attempt resumes behind it.
 */
async function* gathered(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(WRITE_BYTES);
  const end: { broken?: Error } = {};
  let used = 0;
  for await (const chunk of untilBroken(body, end)) {
    let taken = 0;
    while (taken < chunk.byteLength) {
      const part = chunk.subarray(taken, taken + buffer.length - used);
      buffer.set(part, used);
      used += part.byteLength;
      taken += part.byteLength;
      if (used === buffer.length) {
        yield buffer;
        used = 0;
      }
    }
  }
  if (used > 0) yield buffer.subarray(0, used);
  if (end.broken !== undefined) throw end.broken;
}

async function* untilBroken(
  body: AsyncIterable<Uint8Array>,
  end: { broken?: Error },
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    end.broken = error instanceof Error ? error : new Error(String(error));
  }
}
