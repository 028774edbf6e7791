/** What a CA says about certificates that it has signed: CRLs and OCSP answers of the openssl program. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Authority } from './certificates.ts';

export type CertificateState = 'good' | 'revoked' | 'unknown';

/** @param directory - of one CA; its books are kept there */
export class RevocationBooks {
  readonly #directory: string;
  readonly #authority: Authority;
  readonly #lines = new Map<string, string>();
  #files = 0;

  constructor(directory: string, authority: Authority) {
    mkdirSync(directory, { recursive: true });
    this.#directory = directory;
    this.#authority = authority;
    writeFileSync(this.#at('openssl.cnf'), this.#configuration());
    writeFileSync(this.#at('number'), '01\n');
    this.#write();
  }

  enter(certificatePem: string, state: CertificateState): void {
    const { serialNumber, subject } = new X509Certificate(certificatePem);
    const flag = state === 'revoked' ? 'R' : 'V';
    const revokedAt = state === 'revoked' ? '250101000000Z' : '';
    const line = [flag, '491231235959Z', revokedAt, serialNumber, 'unknown', `/${subject}`];
    if (state === 'unknown') this.#lines.delete(serialNumber);
    else this.#lines.set(serialNumber, line.join('\t'));
    this.#write();
  }

  /** @returns the path of a CRL, PEM, that counts for `days` from the time of `clock` */
  crl(days = 1, clock: Readonly<Record<string, string>> = {}): string {
    const path = this.#next('crl');
    const lifetime = days > 0 ? ['-crldays', String(days)] : ['-crl_nextupdate', '20250102000000Z'];
    const from = days > 0 ? [] : ['-crl_lastupdate', '20250101000000Z'];
    const config = ['-config', this.#at('openssl.cnf')];
    openssl(clock, 'ca', '-gencrl', ...config, ...from, ...lifetime, '-out', path);
    return path;
  }

  /**
   * @param signer - a responder of the CA; absent: the CA itself
   * @returns the answer, DER
   */
  ocsp(certificatePem: string, signer?: { certificatePem: string; keyPem: string }): Buffer {
    const [leaf, answer] = [this.#next('pem'), this.#next('ocsp')];
    writeFileSync(leaf, certificatePem);
    const { certificatePath, keyPath } = this.#authority;
    let by = ['-rsigner', certificatePath, '-rkey', keyPath];
    if (signer !== undefined) {
      const [certificate, key] = [this.#next('pem'), this.#next('key')];
      writeFileSync(certificate, signer.certificatePem);
      writeFileSync(key, signer.keyPem);
      by = ['-rsigner', certificate, '-rkey', key];
    }
    const about = ['-CA', certificatePath, '-issuer', certificatePath, '-cert', leaf];
    const books = ['-index', this.#at('index.txt'), '-ndays', '1', '-no_nonce', '-noverify'];
    openssl({}, 'ocsp', ...books, ...about, ...by, '-respout', answer);
    return readFileSync(answer);
  }

  #at(name: string): string {
    return join(this.#directory, name);
  }

  #next(extension: string): string {
    this.#files += 1;
    return this.#at(`${String(this.#files)}.${extension}`);
  }

  #write(): void {
    writeFileSync(this.#at('index.txt'), [...this.#lines.values(), ''].join('\n'));
  }

  #configuration(): string {
    const { certificatePath, keyPath } = this.#authority;
    return `[ca]
default_ca = books
[books]
database = ${this.#at('index.txt')}
crlnumber = ${this.#at('number')}
certificate = ${certificatePath}
private_key = ${keyPath}
default_md = sha256
`;
  }
}

function openssl(clock: Readonly<Record<string, string>>, ...args: readonly string[]): void {
  const env = { ...process.env, ...clock };
  execFileSync('openssl', args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
}
