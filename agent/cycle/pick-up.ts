/** Notices media with offline updates as they come, each once. */
import type { Media } from '../ports.ts';

/** By source, the fingerprint of the medium that was noticed there. */
export type SeenMedia = ReadonlyMap<string, string>;

export class PickUp {
  readonly #media: Pick<Media, 'fingerprint'>;
  readonly #sources: readonly string[];
  readonly #seen: Map<string, string>;

  /**
   * @param sources - directories to look at, in order
   * @param seen - by another process, before this one
   */
  constructor(media: Pick<Media, 'fingerprint'>, sources: readonly string[], seen?: SeenMedia) {
    this.#media = media;
    this.#sources = sources;
    this.#seen = new Map(seen);
  }

  get seen(): SeenMedia {
    return this.#seen;
  }

  /**
   * A source with a medium that was not there when it was last asked; one that was taken out and put
   * back is another.
   */
  async next(): Promise<string | undefined> {
    for (const source of this.#sources) {
      const found = await this.#media.fingerprint(source);
      const isKnown = found !== undefined && this.#seen.get(source) === found;
      if (found === undefined) this.#seen.delete(source);
      else this.#seen.set(source, found);
      if (found !== undefined && !isKnown) return source;
    }
    return undefined;
  }

  /** It was not looked at yet, because something else had to end first. */
  again(source: string): void {
    this.#seen.delete(source);
  }
}
