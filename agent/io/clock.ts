/** The Clock port on the system's clocks. */
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';

import type { Clock } from '../ports.ts';
import { effectiveNow } from '../uptane/attested-time.ts';
import type { Instant } from '../uptane/time.ts';

/** What of the operating system a clock is made from. */
export interface SystemClocks {
  /** Milliseconds since the epoch; may be wrong, may jump. */
  readonly wallMs: () => number;
  /** Milliseconds since some instant; never jumps, may stand still while the device sleeps. */
  readonly monotonicMs: () => number;
}

const SYSTEM: SystemClocks = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/**
 * A clock that never goes behind what this device has already seen.
 *
 * A battery-less device wakes up in 1970: without a floor, metadata that expired years ago would be
 * fresh again (freeze attack).
 *
 * What others said the time is counts on with the monotonic clock, and is forgotten with the
 * process: only the latest known time is on disk.
 *
 * Source: Uptane Standard 2.1 §5.4.2.2.
 *
 * @param latestKnown - the latest instant at which fresh metadata was accepted, from the store
 */
export function openClock(latestKnown: Instant, system: SystemClocks = SYSTEM): Clock {
  let floor = latestKnown;
  let attested: () => Instant | undefined = unknown;
  let httpDate: () => Instant | undefined = unknown;
  const countFrom = (at: Instant): (() => Instant) => {
    const startMs = system.monotonicMs();
    return () => Math.floor(at + system.monotonicMs() - startMs) as Instant;
  };
  return {
    now: () =>
      effectiveNow({
        rtc: system.wallMs() as Instant,
        latestKnown: floor,
        attested: attested(),
        httpDate: httpDate(),
      }),
    attest: (at) => {
      attested = countFrom(at);
    },
    noteHttpDate: (at) => {
      httpDate = countFrom(at);
    },
    raiseFloor: (at) => {
      floor = Math.max(floor, at) as Instant;
    },
    monotonicMs: system.monotonicMs,
    sleep: (ms) => setTimeout(ms),
    uuid: () => randomUUID(),
    random: Math.random,
  };
}

function unknown(): undefined {
  return undefined;
}
