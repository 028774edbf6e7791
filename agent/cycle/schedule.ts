/** When to poll next; pure, so that a fleet can be computed. */

/** What the last cycles came to. */
export interface Misfortune {
  /** How many cycles in a row ended badly; 0: the last one went well. */
  readonly failures: number;
  /** How long the gateway asked to be left alone, with the last answer. */
  readonly retryAfterMs?: number | undefined;
}

/** Share of the interval by which polls are spread, so that a fleet does not come all at once. */
const JITTER = 0.1;
/** What fails once may be a matter of seconds, and of this device alone. */
const FIRST_RETRY_MS = 15_000;
/**
 * What fails twice may be the gateway, and then the whole fleet waits for it. Of the devices that would
 * have polled in the meantime no more than two parts come back beside those whose turn it is.
 */
const SECOND_RETRY_SHARE = 1 / 6;
const GROWTH = 4;
const RETRY_JITTER = 0.5;
/** A gateway must not be able to send devices away for ever. */
const LONGEST_RETRY_AFTER_MS = 24 * 3_600_000;

/**
 * How long to wait for the next poll.
 *
 * Bounded such that a gateway which was away, for however long, is asked at most three times as often
 * as usual when it is back: DECISIONS.md 139.
 *
 * @param random - 0 to 1
 */
export function waitMs(
  intervalMs: number,
  { failures, retryAfterMs = 0 }: Misfortune,
  random: number,
): number {
  if (failures === 0) return intervalMs * spread(JITTER, random);
  const usual = Math.min(retryMs(intervalMs, failures), intervalMs);
  const share = failures === 1 ? JITTER : RETRY_JITTER;
  // Never earlier than asked for: whoever was sent away together must not come back together.
  const askedMs = Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS) * (1 + JITTER * random);
  return Math.max(usual * spread(share, random), askedMs);
}

function retryMs(intervalMs: number, failures: number): number {
  if (failures === 1) return FIRST_RETRY_MS;
  const growth = GROWTH ** (failures - 2);
  return Math.max(FIRST_RETRY_MS, intervalMs * SECOND_RETRY_SHARE) * growth;
}

/** Around 1. */
function spread(share: number, random: number): number {
  return 1 + share * (2 * random - 1);
}
