/** When a worker goes: nothing is to be done for a while, and nobody has asked for a while. */
import type { Daemon, Wait } from '../../cycle/daemon.ts';

export class Leaving {
  readonly #daemon: Pick<Daemon, 'wait'>;
  readonly #lingerMs: number;
  readonly #farewell: () => Promise<(wait: Wait) => void>;
  readonly #gone = new AbortController();
  #busy = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param farewell - makes ready, and returns what says the last word */
  constructor(
    daemon: Pick<Daemon, 'wait'>,
    lingerMs: number,
    farewell: () => Promise<(wait: Wait) => void>,
  ) {
    this.#daemon = daemon;
    this.#lingerMs = lingerMs;
    this.#farewell = farewell;
    this.putOff();
  }

  /** Aborted after the last word. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** Nobody leaves while `act` runs. */
  async during<T>(act: () => Promise<T>): Promise<T> {
    this.#busy += 1;
    try {
      return await act();
    } finally {
      this.#busy -= 1;
    }
  }

  /** What was loaded may soon be needed again. */
  putOff(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#leave(), this.#lingerMs).unref();
  }

  async #leave(): Promise<void> {
    if (this.#wait() === undefined) {
      this.putOff();
      return;
    }
    const sayFarewell = await this.#farewell();
    const wait = this.#wait();
    if (wait === undefined) this.putOff();
    else {
      sayFarewell(wait);
      this.#gone.abort();
    }
  }

  /** @returns `undefined` where it is at work, or would have to come back at once */
  #wait(): Wait | undefined {
    const { wait } = this.#daemon;
    if (this.#busy > 0 || wait === undefined) return undefined;
    const ms = Math.min(wait.leftMs, wait.heldMs ?? Infinity);
    return ms > this.#lingerMs ? wait : undefined;
  }
}
