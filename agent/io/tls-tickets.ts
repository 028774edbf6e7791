/** Tickets of TLS sessions: what the next connection to a server goes on with, in this process or the next. */
import { uptime } from 'node:os';

import type { Instant } from '../uptane/time.ts';

/**
 * The tickets of a process that goes, for the one that follows it under the same daemon.
 *
 * Never on disk: whoever has a ticket is this device to the server, without its key, until it ends.
 */
export interface LeftSessions {
  /** What they were made with: with anything else they are worth nothing. */
  readonly grounds: string;
  readonly tickets: readonly LeftTicket[];
}

interface LeftTicket {
  readonly server: string;
  /** As OpenSSL writes it. */
  readonly session: Uint8Array;
  readonly protocol: string;
  readonly until: Instant;
  /** The same by the time since boot: the best known time may start further back in another process. */
  readonly untilUptimeMs: number;
}

export interface Ticket {
  readonly session: Buffer;
  /** Such as `TLSv1.3`. */
  readonly protocol: string;
  readonly until: Instant;
}

export class Tickets {
  readonly #now: () => Instant;
  readonly #uptimeMs: () => number;
  readonly #tickets = new Map<string, Ticket>();

  /** @param uptimeMs - since boot, sleep included */
  constructor(now: () => Instant, uptimeMs = (): number => uptime() * 1000) {
    this.#now = now;
    this.#uptimeMs = uptimeMs;
  }

  /** @returns the last one of a server, if it may still be used */
  of(server: string): Ticket | undefined {
    const ticket = this.#tickets.get(server);
    return ticket !== undefined && this.#now() < ticket.until ? ticket : undefined;
  }

  /**
   * @param ticket - its session is what Node.js emits as such; until when what its handshake has proved
   *   may count
   */
  keep(server: string, ticket: Ticket): void {
    const { session, until } = ticket;
    const lifetimeMs = lifetimeOf(session);
    const ends = lifetimeMs === undefined ? until : Math.min(until, this.#now() + lifetimeMs);
    this.#tickets.set(server, { ...ticket, until: ends as Instant });
  }

  forget(server: string): void {
    this.#tickets.delete(server);
  }

  clear(): void {
    this.#tickets.clear();
  }

  leave(): readonly LeftTicket[] {
    const ahead = this.#uptimeMs() - this.#now();
    return [...this.#tickets].map(([server, ticket]) => ({
      ...ticket,
      server,
      untilUptimeMs: ticket.until + ahead,
    }));
  }

  take(left: readonly LeftTicket[]): void {
    const behind = this.#now() - this.#uptimeMs();
    for (const { server, session, protocol, until, untilUptimeMs } of left) {
      const ends = Math.min(until, untilUptimeMs + behind) as Instant;
      this.#tickets.set(server, { session: Buffer.from(session), protocol, until: ends });
    }
  }
}

/** DER of `[9] EXPLICIT INTEGER`, the lifetime that the server has given the ticket, in seconds. */
const LIFETIME = 0xa9;
const SEQUENCE = 0x30;
/** Node.js 24.21 puts this in front, and the name of the server with a length of 16 bits. */
const PREFIX = /^\0nodejs:tls:session:\d+\0/u;

/**
 * How long a server said it would honour a ticket: many do for five minutes, and one that is offered
 * later costs a connection that comes to nothing.
 *
 * Source: RFC 8446 §4.6.1; OpenSSL 3, ssl/ssl_asn1.c, SSL_SESSION_ASN1.
 *
 * @returns `undefined` where it said nothing, or that cannot be read: a ticket is only offered
 */
function lifetimeOf(session: Buffer): number | undefined {
  try {
    return lifetimeIn(session.subarray(prefixBytes(session)));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function prefixBytes(session: Buffer): number {
  const [prefix] = PREFIX.exec(session.toString('latin1', 0, 64)) ?? [];
  return prefix === undefined ? 0 : prefix.length + 2 + session.readUInt16BE(prefix.length);
}

/** @throws RangeError where it ends too early */
function lifetimeIn(session: Buffer): number | undefined {
  const whole = elementAt(session, 0);
  if (whole.tag !== SEQUENCE) return undefined;
  for (let at = whole.start; at < whole.end;) {
    const element = elementAt(session, at);
    if (element.tag === LIFETIME) {
      const { start, end } = elementAt(session, element.start);
      return 1000 * session.readUIntBE(start, end - start);
    }
    at = element.end;
  }
  return undefined;
}

function elementAt(der: Buffer, at: number): { tag: number; start: number; end: number } {
  const tag = der.readUInt8(at);
  const first = der.readUInt8(at + 1);
  if (first < 0x80) return { tag, start: at + 2, end: at + 2 + first };
  const bytes = first - 0x80;
  const start = at + 2 + bytes;
  return { tag, start, end: start + der.readUIntBE(at + 2, bytes) };
}
