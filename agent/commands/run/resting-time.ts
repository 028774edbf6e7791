/** The time between two workers: until the next poll is due, or an update may go on. */
import type { Wait } from '../../cycle/daemon.ts';

/** Timers of Node.js count no further than 24 days. */
const LONGEST_MS = 24 * 3_600_000;
/** How often it is looked whether the clock was set, where something waits for a time of day. */
const LOOK_MS = 60_000;
/** The clock of the wall is kept right by small steps. */
const SET_BY_MS = 5000;

export class RestingTime {
  /** Resolves when there is something to do. */
  readonly over: Promise<void>;
  readonly #from: Wait;
  readonly #sinceMs = performance.now();
  readonly #aheadMs = Date.now() - performance.now();
  readonly #resolve: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Wait) {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.over = promise;
    this.#resolve = () => {
      resolve(undefined);
    };
    this.#from = from;
    this.#tick();
  }

  /** What is left of it now. */
  get left(): Wait {
    const { leftMs, failures, heldMs } = this.#from;
    const passedMs = performance.now() - this.#sinceMs;
    return {
      leftMs: leftMs - passedMs,
      failures,
      heldMs: heldMs === undefined ? undefined : heldMs - passedMs,
    };
  }

  /** Before its time. */
  end(): void {
    clearTimeout(this.#timer);
    this.#resolve();
  }

  #tick(): void {
    const { leftMs, heldMs } = this.left;
    const ms = Math.min(leftMs, heldMs ?? Infinity);
    if (ms <= 0 || (heldMs !== undefined && this.#wasClockSet())) {
      this.end();
      return;
    }
    const longestMs = heldMs === undefined ? LONGEST_MS : LOOK_MS;
    this.#timer = setTimeout(
      () => {
        this.#tick();
      },
      Math.min(ms, longestMs),
    );
  }

  /** Also after the device has slept: the monotonic clock stood still. */
  #wasClockSet(): boolean {
    return Math.abs(Date.now() - performance.now() - this.#aheadMs) > SET_BY_MS;
  }
}
