/** Certificates for tests, made by the openssl command line. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Authority {
  readonly certificatePath: string;
  readonly certificatePem: string;
  readonly keyPath: string;
}

export interface Leaf {
  readonly certificatePem: string;
  readonly keyPem: string;
}

const openssl = (...args: string[]): void => {
  opensslAt({}, ...args);
};
const opensslAt = (clock: Readonly<Record<string, string>>, ...args: string[]): void => {
  const env = { ...process.env, ...clock };
  execFileSync('openssl', args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
};
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** @param clock - a `fakeClock`, to make it at another time */
export function makeAuthority(directory: string, name: string, clock = {}): Authority {
  const keyPath = join(directory, `${name}-ca.key`);
  const certificatePath = join(directory, `${name}-ca.pem`);
  const subject = ['-subj', `/CN=${name} CA`, '-days', '30'];
  opensslAt(
    clock,
    'req',
    '-x509',
    ...NEW_KEY,
    '-keyout',
    keyPath,
    '-out',
    certificatePath,
    ...subject,
  );
  return { certificatePath, certificatePem: readFileSync(certificatePath, 'utf8'), keyPath };
}

export interface LeafOptions {
  readonly commonName: string;
  /** `DNS:localhost,IP:127.0.0.1` and the like. */
  readonly alternativeNames?: string;
  readonly validity?: 'valid' | 'expired';
  /** More, as an openssl extension file has them: `extendedKeyUsage=OCSPSigning`. */
  readonly extensions?: readonly string[];
  /** A `fakeClock`: it counts for 30 days from then. */
  readonly clock?: Readonly<Record<string, string>>;
}

export function makeLeaf(directory: string, authority: Authority, options: LeafOptions): Leaf {
  const base = join(directory, options.commonName.replace(/\W/gu, '_'));
  const [key, request, certificate] = [`${base}.key`, `${base}.csr`, `${base}.pem`];
  openssl(
    'req',
    '-new',
    ...NEW_KEY,
    '-keyout',
    key,
    '-out',
    request,
    '-subj',
    `/CN=${options.commonName}`,
  );
  const extensions = `${base}.ext`;
  const names = options.alternativeNames;
  const named = names === undefined ? [] : [`subjectAltName=${names}`];
  writeFileSync(extensions, [...named, ...(options.extensions ?? []), ''].join('\n'));
  const sign = ['x509', '-req', '-in', request, '-out', certificate, '-extfile', extensions];
  const by = ['-CA', authority.certificatePath, '-CAkey', authority.keyPath, '-CAcreateserial'];
  // OpenSSL 3.0 dates a certificate only relative to now: a validity of -1 day ended yesterday.
  opensslAt(
    options.clock ?? {},
    ...sign,
    ...by,
    '-days',
    options.validity === 'expired' ? '-1' : '30',
  );
  return { certificatePem: readFileSync(certificate, 'utf8'), keyPem: readFileSync(key, 'utf8') };
}
