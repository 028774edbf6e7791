/** Certificates for public keys whose private half is out of reach: in a token. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Authority } from './certificates.ts';

export interface CertifyOptions {
  readonly commonName: string;
  /** Days from today; negative is the past. */
  readonly days?: number;
  /** A clock other than now, for `faketime`: `+10 days`. */
  readonly at?: string;
}

/** @returns the certificate, PEM */
export function certify(
  directory: string,
  authority: Authority,
  publicKeyPem: string,
  { commonName, days = 30, at }: CertifyOptions,
): string {
  const key = join(directory, 'certify.pub');
  const certificate = join(directory, 'certify.pem');
  writeFileSync(key, publicKeyPem);
  const by = ['-CA', authority.certificatePath, '-CAkey', authority.keyPath];
  const subject = ['-new', '-force_pubkey', key, '-subj', `/CN=${commonName}`];
  const args = ['openssl', 'x509', ...subject, ...by, '-days', String(days), '-out', certificate];
  const [command = '', ...rest] = at === undefined ? args : ['faketime', '-f', at, ...args];
  execFileSync(command, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
  return readFileSync(certificate, 'utf8');
}

/** The fields that a certificate object in a token repeats, in hex. */
export function certificateParts(
  pem: string,
): Record<'der' | 'subject' | 'issuer' | 'serialNumber', string> {
  const certificate = new X509Certificate(pem);
  const field = (option: string): string => {
    const text = execFileSync('openssl', ['asn1parse', '-strparse', option], { input: pem });
    return text.toString('hex');
  };
  return {
    der: certificate.raw.toString('hex'),
    subject: field('0'),
    issuer: field('0'),
    serialNumber: certificate.serialNumber,
  };
}
