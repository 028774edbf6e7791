/** A device certificate with the CAs above it, from whoever issued it into the token. */
import { X509Certificate } from 'node:crypto';

import { issuersOf, isSelfIssued } from '../agent/io/certificate-chain.ts';
import {
  checkDeviceCertificate,
  parseDeviceCertificate,
  type DeviceCertificate,
} from '../agent/io/tls.ts';
import { storeCertificate } from '../agent/io/token/certificate.ts';
import { addToChain, tidyChain } from '../agent/io/token/chain.ts';
import type { ObjectName } from '../agent/io/token/cryptoki.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import type { Instant } from '../agent/uptane/time.ts';
import { certificateParts } from './certificate.ts';

export interface Issued {
  readonly certificate: DeviceCertificate;
  /** Its issuer first, a root last if it is known. */
  readonly issuers: readonly X509Certificate[];
}

/**
 * Finds the device certificate among those that came.
 *
 * @param ders - in no particular order, at least one
 * @param what - where they came from, for messages
 * @throws OtaError CERTIFICATE_INVALID if none is for the key, or the one that is cannot be used
 */
export function issuedAmong(
  ders: readonly Uint8Array[],
  what: string,
  key: Pick<TokenKey, 'publicKey'>,
  now: Instant,
): Issued {
  // A root without a common name is a CA all the same: only the device's has to have one.
  const all = ders.map((der) => ({ der, x509: parsedOrFirst(der, what) }));
  const ours = all.find(({ x509 }) => x509.publicKey.equals(key.publicKey)) ?? all[0];
  const certificate = parseDeviceCertificate(ours?.der ?? new Uint8Array(), what);
  checkDeviceCertificate(certificate, key.publicKey, now);
  const others = all.filter((one) => one !== ours).map(({ x509 }) => x509);
  return { certificate, issuers: issuersOf(new X509Certificate(certificate.pem), others) };
}

/**
 * Makes it the only device certificate of its key, with the CAs that TLS has to show.
 *
 * @param name - which key, where there are several; else it becomes the only one of the token
 */
export function storeIssued(token: Token, issued: Issued, name?: ObjectName): void {
  storeIssuers(token, issued);
  storeCertificate(token, certificateParts(issued.certificate.pem), name);
  tidyChain(token);
}

/** To be done first: a certificate is never there without what TLS has to show with it. */
export function storeIssuers(token: Token, { issuers }: Issued): void {
  const between = issuers.filter((one) => !isSelfIssued(one));
  addToChain(
    token,
    between.map(({ raw }) => certificateParts(raw)),
  );
}

/** What does not parse is refused in the words that a device certificate is refused with. */
function parsedOrFirst(der: Uint8Array, what: string): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch {
    return new X509Certificate(parseDeviceCertificate(der, what).pem);
  }
}
