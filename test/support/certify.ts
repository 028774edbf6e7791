/** Certificates for public keys whose private half is out of reach: in a token. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Authority } from './certificates.ts';

export interface CertifyOptions {
  readonly commonName: string;
  /** Days of validity. */
  readonly days?: number;
}

/** @returns the certificate, PEM */
export function certify(
  directory: string,
  authority: Authority,
  publicKeyPem: string,
  { commonName, days = 30 }: CertifyOptions,
): string {
  const key = join(directory, 'certify.pub');
  const certificate = join(directory, 'certify.pem');
  writeFileSync(key, publicKeyPem);
  const by = ['-CA', authority.certificatePath, '-CAkey', authority.keyPath];
  const subject = ['-new', '-force_pubkey', key, '-subj', `/CN=${commonName}`];
  const openssl = ['x509', ...subject, ...by, '-days', String(days), '-out', certificate];
  execFileSync('openssl', openssl, { stdio: ['ignore', 'ignore', 'pipe'] });
  return readFileSync(certificate, 'utf8');
}
