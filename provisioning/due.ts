/**
 * When a certificate or a key has to be replaced. Pure: the time is the best that is known
 * (agent/TIME.md), and may be wrong all the same.
 */
import { createHash } from 'node:crypto';

import type { Instant } from '../agent/uptane/time.ts';

/** From when to when a certificate is valid. */
export interface Life {
  readonly validFrom: Instant;
  readonly validTo: Instant;
}

/** Share of a life by which devices of one fleet differ, to either side. */
const JITTER = 0.05;
/** A renewal may not follow another sooner, whatever the clock says: a sixth of a life. */
const LEAST_SHARE = 1 / 6;
const TRIES_PER_LIFE = 100;
const LONGEST_WAIT_MS = 24 * 3_600_000;

/**
 * When the certificate is renewed: at `share` of its life, a little sooner or later by device.
 *
 * The same device gets the same answer every time, so a restart changes nothing.
 *
 * @param share - `identity.renew_at`, between 0 and 1
 */
export function renewalDueAt({ validFrom, validTo }: Life, share: number, device: string): Instant {
  const spread = JITTER * (2 * fractionOf(`${device} ${String(validTo)}`) - 1);
  const at = Math.min(Math.max(share + spread, 0), 1);
  return Math.round(validFrom + (validTo - validFrom) * at) as Instant;
}

/**
 * Whether the certificate is to be renewed now.
 *
 * A clock that is ahead finds every certificate due, a new one as well: what was stored recently by the
 * same clock is left alone, for so short a time that the next renewal still comes before the end.
 *
 * @param storedAt - when it was stored, by the clock of then; a time to come says that the clock was wrong
 */
export function isRenewalDue(
  life: Life,
  dueAt: Instant,
  now: Instant,
  storedAt: Instant | undefined,
): boolean {
  if (now < dueAt) return false;
  if (storedAt === undefined || storedAt > now) return true;
  return now - storedAt >= (life.validTo - life.validFrom) * LEAST_SHARE;
}

/**
 * Whether a failed try may be repeated: a CA that refuses is not asked at every poll.
 *
 * A clock that was set, in whichever direction, never keeps a device from trying.
 *
 * @param lifeMs - of the certificate, or the greatest age of the key
 */
export function mayTryAgain(lifeMs: number, now: Instant, triedAt: Instant | undefined): boolean {
  if (triedAt === undefined) return true;
  return Math.abs(now - triedAt) >= Math.min(lifeMs / TRIES_PER_LIFE, LONGEST_WAIT_MS);
}

/** Whether a key has reached the age at which it is replaced. */
export function isTooOld(maxAgeMs: number | undefined, now: Instant, madeAt: Instant): boolean {
  return maxAgeMs !== undefined && now - madeAt >= maxAgeMs;
}

/** 0 to 1, evenly, by what `text` is. */
function fractionOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32;
}
