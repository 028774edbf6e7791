/** Looks for media with offline updates while no worker is there: what comes is for the next one. */
import { PickUp, type SeenMedia } from '../../cycle/pick-up.ts';
import { fingerprintOf } from '../../io/medium-fingerprint.ts';
import type { Settings } from '../../settings.ts';

export class MediaWatch {
  readonly #pickUp: PickUp;
  readonly #everyMs: number;
  readonly #found: () => void;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /** @param found - called once, when a medium is there that the last worker has not seen */
  constructor({ sources, interval }: Settings['offline'], seen: SeenMedia, found: () => void) {
    this.#pickUp = new PickUp({ fingerprint: fingerprintOf }, sources, seen);
    this.#everyMs = interval;
    this.#found = found;
    if (sources.length > 0) this.#lookLater();
  }

  /** For the next worker: what was found now it has not seen either. */
  get seen(): SeenMedia {
    return this.#pickUp.seen;
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => void this.#look(), this.#everyMs);
  }

  async #look(): Promise<void> {
    const source = await this.#pickUp.next();
    if (source !== undefined) this.#pickUp.again(source);
    if (this.#isOver) return;
    if (source === undefined) this.#lookLater();
    else this.#found();
  }
}
