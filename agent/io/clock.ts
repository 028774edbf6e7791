/** The Clock port on the system's clock. */
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';

import type { Clock } from '../ports.ts';
import type { Instant } from '../uptane/time.ts';

/**
 * A clock that never goes behind what this device has already seen.
 *
 * A battery-less device wakes up in 1970: without a floor, metadata that expired years ago would be
 * fresh again (freeze attack).
 *
 * Source: Uptane Standard 2.1 §5.4.2.2.
 *
 * @param latestKnown - the latest instant at which fresh metadata was accepted, from the store
 */
export function openClock(latestKnown: Instant): Clock {
  return {
    now: () => Math.max(Date.now(), latestKnown) as Instant,
    sleep: (ms) => setTimeout(ms),
    uuid: () => randomUUID(),
    random: Math.random,
  };
}
