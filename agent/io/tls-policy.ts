/** What a server has to prove beyond what OpenSSL checks in a handshake. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

import { formatInstant, type Instant } from '../uptane/time.ts';
import { demandPin, signedChain } from './tls-pins.ts';
import { TlsRefusal } from './tls-refusal.ts';
import type { VerifyStaple } from './tls.ts';

/** A resumed session shows no certificate: what was found out about one counts no longer than this. */
const RESUME_MS = 24 * 3_600_000;
/** From here on the system's clock is wrong: the best known time counts with the monotonic clock. */
const APART_MS = 60_000;
/** What OpenSSL says when a date is all that is wrong, or the first thing. */
const DATE_ERRORS: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CRL_HAS_EXPIRED',
  'CRL_NOT_YET_VALID',
]);

export interface ServerPolicy {
  /** `gateway.pins`; empty: any key that the CA vouches for. */
  readonly pins: readonly string[];
  /** Where the server has to bring proof that it is not revoked: see `ocsp.ts`. */
  readonly verifyStaple?: VerifyStaple | undefined;
  /** The best that is known, not the system's clock. */
  readonly now: () => Instant;
  /** Judges a chain at `now` where the system's clock is wrong; absent: the system's clock decides. */
  readonly verifyChain?:
    ((chain: readonly X509Certificate[], host: string) => Promise<void>) | undefined;
}

/**
 * Judges a server that OpenSSL has accepted, or that is accepted at another time.
 *
 * @param staple - the OCSP answer that it brought
 * @returns until when a session with it may be resumed
 * @throws TlsRefusal
 */
export function judgeServer(
  socket: TLSSocket,
  staple: Buffer | undefined,
  { pins, verifyStaple, now }: ServerPolicy,
): Instant {
  const chain = signedChain(socket.getPeerCertificate(true));
  const ends = chain.map(({ validToDate }) => validToDate.getTime());
  // A clock that lags lets expired ones pass; OpenSSL cannot know.
  if (now() > Math.min(...ends) && now() > Date.now() + APART_MS) throw ended(chain, now());
  if (pins.length > 0) demandPin(chain, pins);
  if (verifyStaple !== undefined) ends.push(verifyStaple(staple, chain, now()));
  return Math.min(now() + RESUME_MS, ...ends) as Instant;
}

/** Whether a certificate was refused for its dates by a clock that is known to be wrong. */
export function isAboutClock(error: Error, { now }: ServerPolicy): boolean {
  const isAboutDate = 'code' in error && DATE_ERRORS.has(String(error.code));
  return isAboutDate && Math.abs(now() - Date.now()) > APART_MS;
}

function ended(chain: readonly X509Certificate[], now: Instant): TlsRefusal {
  const ends = chain.map(({ validTo }) => validTo).join(', ');
  const problem = `by ${formatInstant(now)}, the best known time, its chain has ended: ${ends}`;
  const remedy = "renew the gateway's certificate, and set this device's clock, which lags";
  return new TlsRefusal('ERR_TLS_DATE', problem, remedy);
}
