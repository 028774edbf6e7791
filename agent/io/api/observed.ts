/** What the daemon does, as the API shows it: the progress now, events, and counts. */
import { isOtaError } from '../../errors.ts';
import type { Reporter } from '../../ports.ts';
import type { Facts } from '../log-fields.ts';

/** How far the image is that is downloaded or installed now. */
export interface ProgressNow {
  readonly phase: 'download' | 'install';
  readonly filename: string;
  readonly doneBytes: number;
  /** 0 where nobody knows. */
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  readonly secondsLeft: number | null;
}

/** Since the start of the service. */
export interface Counts {
  readonly refusals: ReadonlyMap<string, number>;
  readonly cycles: ReadonlyMap<string, number>;
  readonly downloadedBytes: number;
}

/** Told what happens. */
export interface EventSink {
  publish(event: string, facts: Facts): void;
}

/** Faster than people read, slower than chunks come. */
const EVENT_EVERY_MS = 250;
/** The rate is that of about the last seconds, not of the whole. */
const RATE_OVER_MS = 5000;

const NOTHING: Counts = { refusals: new Map(), cycles: new Map(), downloadedBytes: 0 };

/** A Reporter that remembers, and passes everything on. */
export class Observed implements Reporter {
  readonly #next: Reporter;
  readonly #hub: EventSink;
  readonly #monotonicMs: () => number;
  #rate: Rate | undefined;
  #progress: ProgressNow | undefined;
  #publishedMs = Number.NEGATIVE_INFINITY;
  readonly #refusals: Map<string, number>;
  readonly #cycles: Map<string, number>;
  #downloadedBytes: number;

  /** @param before - what was counted until now */
  constructor(next: Reporter, hub: EventSink, monotonicMs: () => number, before = NOTHING) {
    this.#next = next;
    this.#hub = hub;
    this.#monotonicMs = monotonicMs;
    this.#refusals = new Map(before.refusals);
    this.#cycles = new Map(before.cycles);
    this.#downloadedBytes = before.downloadedBytes;
  }

  get counts(): Counts {
    const [refusals, cycles] = [this.#refusals, this.#cycles];
    return { refusals, cycles, downloadedBytes: this.#downloadedBytes };
  }

  get progressNow(): ProgressNow | undefined {
    return this.#progress;
  }

  transition(...[from, to, facts]: Parameters<Reporter['transition']>): void {
    this.#progress = undefined;
    this.#hub.publish('transition', { from, to, ...facts });
    this.#next.transition(from, to, facts);
  }

  progress(...[phase, filename, done, total]: Parameters<Reporter['progress']>): void {
    const nowMs = this.#monotonicMs();
    const subject = `${phase} ${filename}`;
    if (this.#rate?.subject !== subject) this.#rate = new Rate(subject, done, nowMs);
    const gained = this.#rate.add(done, nowMs);
    if (phase === 'download') this.#downloadedBytes += gained;
    const { bytesPerSecond } = this.#rate;
    const left = total > done && bytesPerSecond > 0 ? (total - done) / bytesPerSecond : null;
    this.#progress = {
      phase,
      filename,
      doneBytes: done,
      totalBytes: total,
      bytesPerSecond: Math.round(bytesPerSecond),
      secondsLeft: total > 0 && total === done ? 0 : left === null ? null : Math.ceil(left),
    };
    if (done === total || nowMs - this.#publishedMs >= EVENT_EVERY_MS) {
      this.#publishedMs = nowMs;
      this.#hub.publish('progress', { ...this.#progress, secondsLeft: left ?? 0 });
    }
    this.#next.progress(phase, filename, done, total);
  }

  refused(error: Error): void {
    const code = isOtaError(error) ? error.code : 'BUG';
    this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + 1);
    this.#hub.publish('refused', { code, ...(isOtaError(error) ? { ...error.details } : {}) });
    this.#next.refused(error);
  }

  /** @param outcome - or the code of the failure that it ended with */
  cycleEnded(outcome: string): void {
    this.#progress = undefined;
    this.#cycles.set(outcome, (this.#cycles.get(outcome) ?? 0) + 1);
    this.#hub.publish('cycle', { outcome });
  }
}

/** Bytes per second, the recent ones counting most. */
class Rate {
  readonly subject: string;
  bytesPerSecond = 0;
  #done: number;
  #atMs: number;

  constructor(subject: string, done: number, atMs: number) {
    this.subject = subject;
    this.#done = done;
    this.#atMs = atMs;
  }

  /** @returns how many bytes came since; none where a download began again */
  add(done: number, nowMs: number): number {
    const gained = Math.max(0, done - this.#done);
    const tookMs = nowMs - this.#atMs;
    this.#done = done;
    if (tookMs <= 0) return gained;
    this.#atMs = nowMs;
    const weight = this.bytesPerSecond === 0 ? 1 : 1 - Math.exp(-tookMs / RATE_OVER_MS);
    this.bytesPerSecond += weight * ((gained * 1000) / tookMs - this.bytesPerSecond);
    return gained;
  }
}
