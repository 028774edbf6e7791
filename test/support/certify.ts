/** Certificates for public keys whose private half is out of reach: in a token. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Authority } from './certificates.ts';

export interface CertifyOptions {
  readonly commonName: string;
  /** Days of validity. */
  readonly days?: number;
  /** Issued at another time than now, as faketime(1) takes it: `-10d`. */
  readonly issued?: string;
}

/** @returns the certificate, PEM */
export function certify(
  directory: string,
  authority: Authority,
  publicKeyPem: string,
  { commonName, days = 30, issued }: CertifyOptions,
): string {
  const key = join(directory, 'certify.pub');
  const certificate = join(directory, 'certify.pem');
  writeFileSync(key, publicKeyPem);
  const by = ['-CA', authority.certificatePath, '-CAkey', authority.keyPath];
  const subject = ['-new', '-force_pubkey', key, '-subj', `/CN=${commonName}`];
  const openssl = ['x509', ...subject, ...by, '-days', String(days), '-out', certificate];
  const stdio = { stdio: ['ignore', 'ignore', 'pipe'] } as const;
  if (issued === undefined) execFileSync('openssl', openssl, stdio);
  else execFileSync('faketime', ['-f', issued, 'openssl', ...openssl], stdio);
  return readFileSync(certificate, 'utf8');
}
