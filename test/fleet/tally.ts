/** Polls as they come in, by the simulated minute in which they began; pure. */
import type { Poll } from './device.ts';

const MINUTE_MS = 60_000;
/** What nobody had to answer. */
const NOT_REACHED = 'GATEWAY_UNREACHABLE';
const SUCCEEDED = 'installed';

/** One simulated minute. */
export interface Minute {
  /** Which reached a server. */
  readonly polls: number;
  /** Which did not. */
  readonly refused: number;
  /** Images that were installed and found good. */
  readonly updates: number;
  /** Cycles that ended in any other failure; by what they came to. */
  readonly failures: Readonly<Record<string, number>>;
  /** Of polls that reached a server, in real milliseconds. */
  readonly latencies: Latencies;
}

interface Peak {
  /** In which it begins. */
  readonly minute: number;
  readonly perMinute: number;
}

export interface Latencies {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** How a cycle may end without a failure. */
const WELL = new Set([SUCCEEDED, 'up-to-date', 'failed-before', 'deferred', 'unconfirmed']);

export class Tally {
  readonly #minutes = new Map<number, Poll[]>();

  add(polls: readonly Poll[]): void {
    for (const poll of polls) {
      const minute = Math.floor(poll.atMs / MINUTE_MS);
      const known = this.#minutes.get(minute);
      if (known === undefined) this.#minutes.set(minute, [poll]);
      else known.push(poll);
    }
  }

  minute(at: number): Minute {
    return summed(this.#minutes.get(at) ?? []);
  }

  /** @param to - not included */
  between(from: number, to: number): Minute {
    const within = [...this.#minutes].filter(([minute]) => minute >= from && minute < to);
    return summed(within.flatMap(([, polls]) => polls));
  }

  /**
   * The busiest part of the time from `from` to `to`, and how many polls there were in it for a minute.
   *
   * @param minutes - of a part
   */
  peak(from: number, to: number, minutes: number): Peak {
    let peak: Peak = { minute: from, perMinute: 0 };
    for (let minute = from; minute + minutes <= to; minute += 1) {
      const perMinute = this.between(minute, minute + minutes).polls / minutes;
      if (perMinute > peak.perMinute) peak = { minute, perMinute };
    }
    return peak;
  }
}

function summed(all: readonly Poll[]): Minute {
  const asked = all.filter((poll) => poll.asked);
  const reached = asked.filter(({ outcome }) => outcome !== NOT_REACHED);
  const failures: Record<string, number> = {};
  for (const { outcome } of all.filter(({ outcome }) => outcome !== NOT_REACHED)) {
    if (!WELL.has(outcome)) failures[outcome] = (failures[outcome] ?? 0) + 1;
  }
  return {
    polls: reached.length,
    refused: asked.length - reached.length,
    updates: all.filter(({ outcome }) => outcome === SUCCEEDED).length,
    failures,
    latencies: latenciesOf(reached.map(({ durationMs }) => durationMs)),
  };
}

function latenciesOf(durationsMs: readonly number[]): Latencies {
  const sorted = durationsMs.toSorted((a, b) => a - b);
  const quantile = (part: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  return { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) };
}
