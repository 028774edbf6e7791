/** X.509 as far as provisioning reads and writes it. The agent itself only needs node:crypto. */
import 'reflect-metadata';

import { X509Certificate, X509Certificates } from '@peculiar/x509';

import type { CertificateParts } from '../agent/io/token/certificate.ts';

/**
 * The fields that a certificate object repeats of its certificate.
 *
 * @param pem - or DER; it has parsed before
 */
export function certificateParts(pem: string | Uint8Array): CertificateParts {
  const certificate = new X509Certificate(typeof pem === 'string' ? pem : Buffer.from(pem));
  return {
    der: new Uint8Array(certificate.rawData),
    subject: new Uint8Array(certificate.subjectName.toArrayBuffer()),
    issuer: new Uint8Array(certificate.issuerName.toArrayBuffer()),
    serialNumber: derInteger(certificate.serialNumber),
  };
}

/**
 * Certificates of a PKCS#7 "certs-only" message, as EST answers.
 *
 * @param der - unchecked
 * @returns DER of each, in the order of the message, which means nothing
 * @throws whatever the parser throws
 */
export function parseCertificates(der: Uint8Array): Uint8Array[] {
  const certificates = new X509Certificates(Buffer.from(der));
  return Array.from(certificates, ({ rawData }) => new Uint8Array(rawData));
}

/**
 * @param hex - magnitude, at most 20 octets (RFC 5280 §4.1.2.2), so the length is one octet; the library
 *   leaves out the octet that keeps a number with its highest bit set from being negative
 */
function derInteger(hex: string): Uint8Array {
  const magnitude = Buffer.from(hex, 'hex');
  const sign = (magnitude[0] ?? 0) >= 0x80 ? [0] : [];
  return Buffer.from([0x02, sign.length + magnitude.length, ...sign, ...magnitude]);
}
