import type { Instant } from '../uptane/time.ts';

const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/u;

/**
 * A `Date` header in the one form that senders may use; anything else says nothing.
 *
 * Source: RFC 9110 §5.6.7 and §6.6.1.
 */
export function parseHttpDate(header: string | string[] | undefined): Instant | undefined {
  if (typeof header !== 'string' || !IMF_FIXDATE.test(header)) return undefined;
  const ms = Date.parse(header);
  return Number.isNaN(ms) ? undefined : (ms as Instant);
}
