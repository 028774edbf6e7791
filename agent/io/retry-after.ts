import { parseHttpDate } from './http-date.ts';

const SECONDS = /^\d{1,9}$/u;

/**
 * How long a server asks to be left alone, in whole seconds; anything but its two forms says nothing.
 *
 * A date counts from the server's own `Date`: this device's clock may be wrong.
 *
 * Source: RFC 9110 §10.2.3.
 */
export function parseRetryAfter(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): number | undefined {
  const { 'retry-after': header, date } = headers;
  if (typeof header !== 'string') return undefined;
  if (SECONDS.test(header)) return Number(header);
  const [until, now] = [parseHttpDate(header), parseHttpDate(date)];
  return until === undefined || now === undefined ? undefined : Math.max(0, (until - now) / 1000);
}
