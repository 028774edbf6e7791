/**
 * When a static delta has been unpacked, as far as that can be told from outside.
 *
 * ostree asks for the detached metadata of a commit as soon as it has the delta's superblock. Once that
 * is answered it asks for every object that it does not have yet, although the delta under way holds
 * them: over any network with a delay, both are downloaded. So that answer has to wait its turn.
 *
 * Waiting too long costs time and not long enough costs bytes; neither changes what is installed.
 */
/** After the last byte of a delta, before what it holds can be there. */
const SETTLE_MS = 500;
/** What a slow device unpacks. */
const BYTES_PER_MS = 1000;

export class DeltaTurn {
  #underWay = 0;
  #receivedBytes = 0;
  #lastEndMs: number | undefined;

  /** One file of a delta, from its request to its last byte: a server may think about it for long. */
  async during(serve: () => Promise<void>): Promise<void> {
    this.#underWay += 1;
    try {
      await serve();
    } finally {
      this.#underWay -= 1;
      // A delta that is not there holds nothing up.
      if (this.#receivedBytes > 0) this.#lastEndMs = performance.now();
    }
  }

  received(bytes: number): void {
    this.#receivedBytes += bytes;
  }

  get isOver(): boolean {
    if (this.#underWay > 0) return false;
    if (this.#lastEndMs === undefined) return true;
    const neededMs = SETTLE_MS + this.#receivedBytes / BYTES_PER_MS;
    return performance.now() - this.#lastEndMs >= neededMs;
  }
}
