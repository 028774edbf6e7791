/** The device's TLS identity: its certificate, checked, and its key, which stays in the token. */
import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import { getCACertificates, type SecureContextOptions } from 'node:tls';

import { causeOf, OtaError } from '../errors.ts';
import type { Instant } from '../uptane/time.ts';
import {
  chooseInToken,
  type ChosenContext,
  type TlsBackend,
  type TlsCredential,
} from './tls-backends.ts';
import { createEngineContext } from './tls-engine.ts';
import { createProviderContext } from './tls-provider.ts';
import { withChain } from './token/chain.ts';
import { PROVISION } from './token/token-errors.ts';
import type { Token } from './token/token.ts';

/** What has to vouch for a server. */
export interface ServerTrust {
  /** CAs that the server may come from, PEM; the system's roots if absent. */
  readonly caPem?: string | undefined;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** PEM. If there is any, every CA of a chain needs one that is in force. */
  readonly crls?: readonly string[];
  /** Pins of which one has to be in the chain; empty or absent: any key that a CA vouches for. */
  readonly pins?: readonly string[];
  /** Present where the server has to bring proof that it is not revoked. */
  readonly verifyStaple?: VerifyStaple | undefined;
}

/** As `ocsp.ts` has it; passed on, so that only who needs it loads a parser. */
export type VerifyStaple = (
  staple: Uint8Array | undefined,
  chain: readonly X509Certificate[],
  now: Instant,
) => Instant;

/** What the agent reads from its own certificate. */
export interface DeviceCertificate {
  readonly pem: string;
  /** SHA-256 of the DER, hex. */
  readonly fingerprint: string;
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
    fingerprint: fingerprintOf(certificate.raw),
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
  keyPlace = 'the token',
): void {
  const what = `certificate of ${certificate.commonName}`;
  if (!certificate.publicKey.equals(publicKey)) {
    throw invalid(what, `it is for another key than the one in ${keyPlace}`);
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
 * What is shown is the certificate with the CAs above it that the token has.
 *
 * @throws OtaError TOKEN_MODULE, TOKEN_OBJECT if the token's key cannot be used
 */
export function createIdentityContext(
  token: Token,
  { key, certificatePem }: TlsCredential,
  trust: ServerTrust,
  backend: Exclude<TlsBackend, 'file'>,
): ChosenContext {
  const options = contextOptions(trust);
  const shown = withChain(token, certificatePem);
  return chooseInToken(backend, {
    engine: () => createEngineContext(token, key, { ...options, cert: shown }),
    provider: () => createProviderContext(token, { key, certificatePem: shown }, options),
  });
}

/** What every context to a gateway has in common, whoever the client is. */
export function contextOptions({ caPem, minVersion, crls }: ServerTrust): SecureContextOptions {
  return {
    ca: caPem ?? getCACertificates('system'),
    minVersion: minVersion ?? 'TLSv1.2',
    ...(crls === undefined || crls.length === 0 ? {} : { crl: [...crls] }),
  };
}

/**
 * Tells apart what sessions prove: who we were in the handshake, and who vouched for the server.
 *
 * @param fingerprint - of our certificate
 */
export function groundsOf(fingerprint: string, trust: ServerTrust): string {
  const { pins = [], verifyStaple } = trust;
  const grounds = [fingerprint, contextOptions(trust), pins, verifyStaple !== undefined];
  return createHash('sha256').update(JSON.stringify(grounds)).digest('hex');
}

/** SHA-256 of a certificate, hex. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex');
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
