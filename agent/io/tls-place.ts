/** Where a connection leads. */
import type { OnReadOpts } from 'node:net';

export interface Place {
  readonly host: string;
  readonly port: number;
  /** Absent: what is read is emitted. */
  readonly onread?: OnReadOpts;
}

export function placeOf({ hostname, port }: Readonly<Pick<URL, 'hostname' | 'port'>>): Place {
  // URLs have addresses of IPv6 in brackets, which connections do not know.
  return { host: hostname.replace(/^\[(.*)\]$/u, '$1'), port: Number(port === '' ? 443 : port) };
}

/** SNI carries names only (RFC 6066 §3); Node warns about an address. */
export function isAddress(hostname: string): boolean {
  return /^[\d.]+$/u.test(hostname) || hostname.includes(':');
}
