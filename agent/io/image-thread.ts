/**
 * A thread that hashes an image while it is written, or reads it back, and the event loop serves everybody.
 *
 * What it is given lies in memory that both share; digests come back, and are judged here.
 */
import type { FileHandle } from 'node:fs/promises';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

import type { ImageIdentity } from '../uptane/inventory.ts';
import { writeAt, type Digests } from './image-file.ts';
import type { ImageSink } from './image-sink.ts';
import { outcome, settled, type Outcome } from './outcome.ts';

const BUFFER_BYTES = 512 * 1024;
const BUFFERS = 6;
const HEAP_MIB = 32;
const WORKER = new URL(`image-worker${extname(import.meta.filename)}`, import.meta.url);

/** What the thread begins with. */
export interface ImageWork {
  readonly image: ImageIdentity;
  readonly memory: SharedArrayBuffer;
}

/** Done in turn, each answered once. */
export type Job =
  | { readonly do: 'hash'; readonly at: number; readonly lengthBytes: number }
  | { readonly do: 'reread'; readonly fd: number; readonly lengthBytes: number }
  | { readonly do: 'restart' }
  | { readonly do: 'digests' }
  | { readonly do: 'read-back'; readonly path: string };

export type Said =
  | { readonly digests: Digests }
  /** On the way to an answer. */
  | { readonly readBytes: number }
  | { readonly failed: { readonly message: string; readonly code?: string } };

/** A thread for one image. */
class ImageThread {
  readonly memory: Uint8Array;
  readonly #worker: Worker;
  readonly #waiting: PromiseWithResolvers<Digests>[] = [];
  readonly #progress: (readBytes: number) => void;
  #failure: Error | undefined;

  constructor(image: ImageIdentity, memoryBytes: number, progress: (readBytes: number) => void) {
    const memory = new SharedArrayBuffer(memoryBytes);
    this.memory = new Uint8Array(memory);
    this.#progress = progress;
    const { filename, lengthBytes, hashes } = image;
    this.#worker = new Worker(WORKER, {
      workerData: { image: { filename, lengthBytes, hashes }, memory } satisfies ImageWork,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
    });
    this.#worker.on('message', (said: Said) => {
      this.#hear(said);
    });
    this.#worker.on('error', (error) => {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    });
    this.#worker.on('exit', () => {
      this.#fail(new Error('the thread that hashes the image has ended'));
    });
  }

  ask(job: Job): Promise<Digests> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const answer = Promise.withResolvers<Digests>();
    this.#waiting.push(answer);
    this.#worker.postMessage(job);
    return answer.promise;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #hear(said: Said): void {
    if ('readBytes' in said) this.#progress(said.readBytes);
    else if ('digests' in said) this.#waiting.shift()?.resolve(said.digests);
    else this.#fail(Object.assign(new Error(said.failed.message), said.failed));
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}

export class ThreadSink implements ImageSink {
  readonly #handle: FileHandle;
  readonly #thread: ImageThread;
  #lengthBytes = 0;
  /** Offsets of buffers that nobody uses. */
  readonly #free = Array.from({ length: BUFFERS }, (_, index) => index * BUFFER_BYTES);
  #filling: number | undefined;
  #used = 0;
  #freed = Promise.withResolvers<undefined>();
  /** Everything that was passed on until now. */
  #passed = outcome(Promise.resolve());
  #failure: { readonly error: unknown } | undefined;

  /** @param handle - stays open until the sink was closed */
  constructor(handle: FileHandle, image: ImageIdentity) {
    this.#handle = handle;
    this.#thread = new ImageThread(image, BUFFERS * BUFFER_BYTES, () => undefined);
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  async reread(lengthBytes: number): Promise<Digests> {
    const digests = await this.#thread.ask({ do: 'reread', fd: this.#handle.fd, lengthBytes });
    this.#lengthBytes = digests.lengthBytes;
    return digests;
  }

  async restart(): Promise<void> {
    this.#lengthBytes = 0;
    await this.#thread.ask({ do: 'restart' });
  }

  async write(chunk: Uint8Array): Promise<void> {
    let taken = 0;
    while (taken < chunk.byteLength) {
      const at = (this.#filling ??= await this.#freeBuffer());
      const part = chunk.subarray(taken, taken + BUFFER_BYTES - this.#used);
      this.#thread.memory.set(part, at + this.#used);
      this.#used += part.byteLength;
      taken += part.byteLength;
      if (this.#used === BUFFER_BYTES) this.#pass(at);
    }
  }

  async mark(): Promise<Digests> {
    const digests = outcome(this.#thread.ask({ do: 'digests' }));
    await settled(this.#passed);
    return settled(digests);
  }

  flush(): Promise<Digests> {
    if (this.#filling !== undefined) this.#pass(this.#filling);
    return this.mark();
  }

  async close(): Promise<void> {
    await outcome(this.mark());
    await this.#thread.end();
  }

  /** Hashed and written side by side: the buffer is free when both are done. */
  #pass(at: number): void {
    const lengthBytes = this.#used;
    const bytes = this.#thread.memory.subarray(at, at + lengthBytes);
    const both = [
      this.#thread.ask({ do: 'hash', at, lengthBytes }),
      writeAt(this.#handle, bytes, this.#lengthBytes),
    ];
    this.#passed = outcome(this.#freeAfter(at, both, this.#passed));
    [this.#filling, this.#used] = [undefined, 0];
    this.#lengthBytes += lengthBytes;
  }

  async #freeAfter(
    at: number,
    both: readonly Promise<unknown>[],
    before: Promise<Outcome<void>>,
  ): Promise<void> {
    for (const ended of await Promise.allSettled(both)) {
      if (ended.status === 'rejected') this.#failure ??= { error: ended.reason };
    }
    this.#free.push(at);
    this.#freed.resolve(undefined);
    this.#freed = Promise.withResolvers();
    await before;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #freeBuffer(): Promise<number> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const at = this.#free.pop();
      if (at !== undefined) return at;
      await this.#freed.promise;
    }
  }
}

/**
 * Hashes what is on the medium: see `read-back.ts`.
 *
 * @param progress - bytes that were read
 */
export async function readBackInThread(
  path: string,
  image: ImageIdentity,
  progress: (readBytes: number) => void,
): Promise<Digests> {
  const thread = new ImageThread(image, 0, progress);
  try {
    return await thread.ask({ do: 'read-back', path });
  } finally {
    await thread.end();
  }
}
