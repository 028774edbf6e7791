/**
 * What the TA keeps for its clients, counted: sessions, their objects, and what an operation holds back.
 *
 * OP-TEE's TA has 32 KiB for all of it. Here there is more, but an end: who wants ever more is told
 * DEVICE_MEMORY, and the world lives.
 */
import { CKR } from './abi.ts';
import { TaFailure } from './failure.ts';

const MEBIBYTE = 1024 * 1024;
export const MAX_HEAP_BYTES = 128 * MEBIBYTE;
/** One message that waits for its tag has room in it, and as much besides. */
export const MAX_HEAP_BYTES_PER_CLIENT = 32 * MEBIBYTE;

/** What of a session or an object is not its data, roughly. */
export const OVERHEAD_BYTES = 1024;

export class Heap {
  readonly #maxBytes: number;
  /** What this is a part of. */
  readonly #whole: Heap | undefined;
  #bytes = 0;

  constructor(maxBytes: number, whole?: Heap) {
    this.#maxBytes = maxBytes;
    this.#whole = whole;
  }

  /** @throws TaFailure DEVICE_MEMORY, and nothing is taken then */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#maxBytes) throw new TaFailure(CKR.DEVICE_MEMORY);
    this.#whole?.take(bytes);
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    this.#whole?.give(bytes);
  }
}
