/**
 * What the world holds for its clients: half frames, requests that a TA has not answered, answers that
 * nobody has read.
 *
 * When it is too much, who holds most goes. So a hostile client pays for what it takes, and not the
 * next honest one that asks for a little.
 */

/** Who can be made to give back everything at once. */
export interface Holder {
  evict(): void;
}

export class MemoryPool {
  readonly #maxBytes: number;
  readonly #maxBytesEach: number;
  readonly #held = new Map<Holder, number>();
  #totalBytes = 0;

  constructor(maxBytes: number, maxBytesEach: number) {
    this.#maxBytes = maxBytes;
    this.#maxBytesEach = maxBytesEach;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Says how much `holder` holds now; it may be evicted before this returns, and so may others. */
  set(holder: Holder, bytes: number): void {
    this.#totalBytes += bytes - (this.#held.get(holder) ?? 0);
    if (bytes === 0) this.#held.delete(holder);
    else this.#held.set(holder, bytes);
    if (bytes > this.#maxBytesEach) this.#evict(holder);
    while (this.#totalBytes > this.#maxBytes) this.#evict(this.#largest());
  }

  #largest(): Holder {
    const [first, ...others] = this.#held;
    if (first === undefined) throw new RangeError('nobody holds what is held');
    return others.reduce((most, other) => (other[1] > most[1] ? other : most), first)[0];
  }

  #evict(holder: Holder): void {
    this.set(holder, 0);
    holder.evict();
  }
}
