/** The operations of an EST server that lead to the first certificate. */
import { X509Certificate } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { OtaError } from '../agent/errors.ts';
import { issuersOf } from '../agent/io/certificate-chain.ts';
import { parseHttpDate } from '../agent/io/http-date.ts';
import type { CertificateRequest } from './csr.ts';
import { certificatesOf, operationUrl, refused, type Answer, type EstConnection } from './est.ts';
import type { Issued } from './issued.ts';

/** Absent by the letter (RFC 7030 §4.1.2, §4.5.2), or not known to the server. */
const NOTHING = new Set([204, 404, 501]);
/** For a server that says to come back and not when. */
const USUAL_WAIT_MS = 10_000;
/** A server that says zero is not asked in a loop. */
const SHORTEST_WAIT_MS = 1000;

/**
 * The certificates of the CA that issues, from a server that has them.
 *
 * They say what our certificate has to come from. No server is believed because of them: that is
 * decided by the explicit trust anchors in the settings alone, so they are asked for over a connection
 * that is trusted already.
 *
 * Source: RFC 7030 §4.1.2, §3.6.1; bootstrapping without trust (§4.1.1) is left out.
 *
 * @returns none if the server does not tell
 * @throws OtaError ENROLMENT_REFUSED for an answer that is no certificates
 * @throws OtaError GATEWAY_UNREACHABLE, GATEWAY_TLS, GATEWAY_TIMEOUT
 */
export async function caCertificates(est: EstConnection): Promise<X509Certificate[]> {
  const answer = await est.get('cacerts');
  if (NOTHING.has(answer.status)) return [];
  return certificatesOf(answer, answer.text).map((der) => new X509Certificate(der));
}

/**
 * The CAs above the certificate, one of which has to be among those that the server has named.
 *
 * @param authorities - none if it has named none, and then nothing is demanded
 * @throws OtaError CERTIFICATE_INVALID
 */
export function demandIssuer(
  { certificate, issuers }: Issued,
  authorities: readonly X509Certificate[],
  url: string,
): readonly X509Certificate[] {
  const leaf = new X509Certificate(certificate.pem);
  const chain = issuersOf(leaf, [...issuers, ...authorities]);
  const isNamed = chain.some((one) => authorities.some(({ raw }) => raw.equals(one.raw)));
  if (isNamed || authorities.length === 0) return chain;
  throw new OtaError('CERTIFICATE_INVALID', {
    what: `certificate of ${certificate.commonName}`,
    problem: `none of the CAs in ${operationUrl(url, 'cacerts')} has issued it`,
    remedy: 'find out why the EST server issues from another CA; the gateway would refuse it',
  });
}

/** What the CA wants in a request: DER of CsrAttrs, empty if it wants nothing in particular. */
export async function csrAttributes(est: EstConnection): Promise<Uint8Array> {
  const { status, text, url } = await est.get('csrattrs');
  if (NOTHING.has(status)) return new Uint8Array();
  if (status !== 200) throw refused({ url, status }, text);
  return Buffer.from(text, 'base64');
}

export interface Waiting {
  /** Longest time in all to wait for somebody to approve. */
  readonly maxMs: number;
  /** Told before each wait. */
  readonly onWait: (waitMs: number) => void;
}

/**
 * Sends a certificate request to simpleenroll, again and again while it waits for approval.
 *
 * Source: RFC 7030 §4.2.1, §4.2.3; RFC 8951 §3 (Base64 without Content-Transfer-Encoding).
 *
 * @returns DER of every certificate in the answer, in no particular order
 * @throws OtaError ENROLMENT_REFUSED for every answer without certificates; 202 if the wait is too long
 * @throws OtaError GATEWAY_UNREACHABLE, GATEWAY_TLS, GATEWAY_TIMEOUT
 */
export async function enrol(
  est: EstConnection,
  request: CertificateRequest,
  waiting: Waiting,
): Promise<Uint8Array[]> {
  const endsAt = performance.now() + waiting.maxMs;
  for (;;) {
    const answer = await est.post('simpleenroll', request.der);
    if (answer.status !== 202) return certificatesOf(answer, answer.text);
    const waitMs = waitOf(answer);
    if (performance.now() + waitMs > endsAt) throw pending(answer, waitMs);
    waiting.onWait(waitMs);
    await sleep(waitMs);
  }
}

/** Retry-After is seconds or a date (RFC 9110 §10.2.3). */
function waitOf({ retryAfter = '' }: Answer): number {
  const ms = /^\d{1,9}$/u.test(retryAfter)
    ? Number(retryAfter) * 1000
    : (parseHttpDate(retryAfter) ?? Date.now() + USUAL_WAIT_MS) - Date.now();
  return Math.max(ms, SHORTEST_WAIT_MS);
}

function pending(answer: Answer, waitMs: number): ReturnType<typeof refused> {
  const seconds = String(Math.ceil(waitMs / 1000));
  return refused(
    answer,
    answer.text,
    `the request waits for approval: run "ota-agent provision" again in ${seconds} s, ` +
      'or raise provisioning.est_wait',
  );
}
