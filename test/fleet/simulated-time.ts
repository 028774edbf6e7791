/** Time that passes faster: intervals, back-off and soak, but not the date. */
import type { After } from '../../agent/cycle/daemon.ts';

const MINUTE_MS = 60_000;

/**
 * The same in every process of a fleet.
 *
 * Dates stay real, on devices and servers alike: what was signed a second ago by the server is a second
 * old to a device. What has to expire sooner is signed for a shorter time: `servers.ts`.
 */
export class SimulatedTime {
  readonly compress: number;
  #startedAtMs = Number.NaN;

  constructor(compress: number) {
    this.compress = compress;
  }

  /** @param atMs - since the Unix epoch, by the clock that all processes share */
  start(atMs: number): void {
    this.#startedAtMs = atMs;
  }

  /** Simulated milliseconds since the start; not a number before it. */
  nowMs(): number {
    return (performance.timeOrigin + performance.now() - this.#startedAtMs) * this.compress;
  }

  nowMinutes(): number {
    return this.nowMs() / MINUTE_MS;
  }

  readonly after: After = (ms, act) => {
    const timer = setTimeout(act, ms / this.compress);
    return () => {
      clearTimeout(timer);
    };
  };

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** Resolves at a minute after the start; at once if it has passed. */
  async reach(minute: number): Promise<void> {
    await this.sleep(Math.max(0, minute * MINUTE_MS - this.nowMs()));
  }
}
