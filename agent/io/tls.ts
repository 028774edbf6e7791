/** The device's TLS identity: its certificate, checked, and its key, which stays in the token. */
import { X509Certificate, type KeyObject } from 'node:crypto';
import { getCACertificates, type SecureContext } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import type { Instant } from '../uptane/time.ts';
import { createEngineContext } from './tls-engine.ts';
import { TLS_KEY } from './token/cryptoki.ts';
import { PROVISION } from './token/token-errors.ts';
import type { Token } from './token/token.ts';

/** Where TLS takes the token's key from. There is no setting that takes it from a file. */
export type TlsBackend = 'auto' | 'engine';

/** What the agent reads from its own certificate. */
export interface DeviceCertificate {
  readonly pem: string;
  /** Subject CN: the gateway takes it for the device id. */
  readonly commonName: string;
  readonly validFrom: Instant;
  readonly validTo: Instant;
  readonly publicKey: KeyObject;
}

/**
 * Parses a certificate, PEM or DER.
 *
 * @param what - where it came from, for the message
 * @throws OtaError CERTIFICATE_INVALID if it does not parse or has no common name
 */
export function parseDeviceCertificate(bytes: Uint8Array, what: string): DeviceCertificate {
  const certificate = parse(bytes, what);
  const commonName = /^CN=(.+)$/mu.exec(certificate.subject)?.[1];
  if (commonName === undefined) throw invalid(what, 'its subject has no common name');
  return {
    pem: certificate.toString(),
    commonName,
    validFrom: certificate.validFromDate.getTime() as Instant,
    validTo: certificate.validToDate.getTime() as Instant,
    publicKey: certificate.publicKey,
  };
}

/**
 * Refuses a certificate that the gateway would refuse, with the reason that it would not tell.
 *
 * @throws OtaError CERTIFICATE_INVALID if it is for another key, expired, or not yet valid
 */
export function checkDeviceCertificate(
  certificate: DeviceCertificate,
  publicKey: KeyObject,
  now: Instant,
): void {
  const what = `certificate of ${certificate.commonName}`;
  if (!certificate.publicKey.equals(publicKey)) {
    throw invalid(what, 'it is for another key than the one in the token');
  }
  const { validFrom, validTo } = certificate;
  if (now > validTo) throw invalid(what, `it expired at ${iso(validTo)}, and it is ${iso(now)}`);
  if (now < validFrom) {
    const problem = `it is not valid before ${iso(validFrom)}, and it is ${iso(now)}`;
    throw invalid(what, problem, 'set the clock');
  }
}

/**
 * TLS as this device: make it once and keep it, with every connection resumed from it.
 *
 * @param caPem - CAs that the server may come from; the system's roots if absent
 * @throws OtaError TOKEN_MODULE, TOKEN_OBJECT if the token's key cannot be used
 */
export function createIdentityContext(
  token: Token,
  certificatePem: string,
  caPem: string | undefined,
  backend: TlsBackend,
): SecureContext {
  const options = { ca: caPem ?? getCACertificates('system'), cert: certificatePem };
  switch (backend) {
    case 'auto':
    case 'engine':
      return createEngineContext(token, TLS_KEY, { ...options, minVersion: 'TLSv1.2' });
  }
}

function parse(bytes: Uint8Array, what: string): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (cause) {
    throw invalid(what, causeOf(cause), PROVISION, cause);
  }
}

function iso(instant: Instant): string {
  return new Date(instant).toISOString();
}

function invalid(
  what: string,
  problem: string,
  remedy: string = PROVISION,
  cause?: unknown,
): OtaError<'CERTIFICATE_INVALID'> {
  const options = cause === undefined ? undefined : { cause };
  return new OtaError('CERTIFICATE_INVALID', { what, problem, remedy }, options);
}
