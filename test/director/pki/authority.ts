/** The two certificate authorities: one for the servers, one for the devices. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readIfThere, writeDurably } from '../state/state-file.ts';
import { openssl } from './openssl.ts';

const YEARS_10_DAYS = '3650';
const P256 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A key and its certificate, both PEM, as files. */
export interface Identity {
  readonly certificatePath: string;
  readonly keyPath: string;
}

export function identityAt(directory: string, name: string): Identity {
  return {
    certificatePath: join(directory, `${name}.pem`),
    keyPath: join(directory, `${name}-key.pem`),
  };
}

/**
 * Makes a self-signed CA unless there is one.
 *
 * @param pathLength - how many CAs may be between it and a device
 */
export async function createAuthority(
  identity: Identity,
  commonName: string,
  pathLength = 0,
): Promise<void> {
  if (isComplete(identity)) return;
  await inScratch(async (scratch) => {
    const extensions = [
      ...['-addext', `basicConstraints=critical,CA:TRUE,pathlen:${String(pathLength)}`],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ];
    const out = ['-keyout', 'key.pem', '-out', 'cert.pem', '-days', YEARS_10_DAYS];
    const subject = ['-subj', `/CN=${commonName}`];
    await openssl(['req', '-x509', ...P256, ...out, ...subject, ...extensions], { cwd: scratch });
    await keepIdentity(scratch, identity);
  });
}

/** Makes a CA below another one unless it is there. */
export async function createSubordinate(
  identity: Identity,
  authority: Identity,
  commonName: string,
): Promise<void> {
  if (isComplete(identity)) return;
  await inScratch(async (scratch) => {
    const extensions = [
      'basicConstraints=critical,CA:TRUE,pathlen:0',
      'keyUsage=keyCertSign,cRLSign',
    ];
    await writeFile(join(scratch, 'extensions'), extensions.join('\n'));
    const subject = ['-keyout', 'key.pem', '-out', 'request.pem', '-subj', `/CN=${commonName}`];
    await openssl(['req', ...P256, ...subject], { cwd: scratch });
    const ca = ['-CA', authority.certificatePath, '-CAkey', authority.keyPath];
    const serial = ['-CAcreateserial', '-CAserial', 'serial'];
    const out = ['-days', YEARS_10_DAYS, '-extfile', 'extensions', '-out', 'cert.pem'];
    await openssl(['x509', '-req', '-in', 'request.pem', ...ca, ...serial, ...out], {
      cwd: scratch,
    });
    await keepIdentity(scratch, identity);
  });
}

/** Makes the server's certificate, anew when it lacks one of `hosts` or is about to expire. */
export async function createServerIdentity(
  identity: Identity,
  authority: Identity,
  hosts: readonly string[],
): Promise<void> {
  if (isComplete(identity) && covers(identity.certificatePath, hosts)) return;
  await certifyServer(identity, authority, { hosts, days: YEARS_10_DAYS });
}

/** Makes a certificate that no client should accept from this server, unless it is there. */
export async function createFaultyIdentity(
  identity: Identity,
  authority: Identity,
  certificate: ServerCertificate,
): Promise<void> {
  if (!isComplete(identity)) await certifyServer(identity, authority, certificate);
}

interface ServerCertificate {
  readonly hosts: readonly string[];
  /** From now on; negative: it ended so long ago. */
  readonly days: string;
}

async function certifyServer(
  identity: Identity,
  authority: Identity,
  { hosts, days }: ServerCertificate,
): Promise<void> {
  await inScratch(async (scratch) => {
    const names = hosts.map((host) => `${isIP(host) === 0 ? 'DNS' : 'IP'}:${host}`).join(',');
    await writeFile(
      join(scratch, 'extensions'),
      [
        'basicConstraints=critical,CA:FALSE',
        'keyUsage=critical,digitalSignature',
        'extendedKeyUsage=serverAuth',
        `subjectAltName=${names}`,
      ].join('\n'),
    );
    const request = [
      '-keyout',
      'key.pem',
      '-out',
      'request.pem',
      '-subj',
      '/CN=ota-agent director',
    ];
    await openssl(['req', ...P256, ...request], { cwd: scratch });
    const { certificatePath, keyPath } = authority;
    const ca = [
      '-CA',
      certificatePath,
      '-CAkey',
      keyPath,
      '-CAcreateserial',
      '-CAserial',
      'serial',
    ];
    const out = ['-days', days, '-extfile', 'extensions', '-out', 'cert.pem'];
    await openssl(['x509', '-req', '-in', 'request.pem', ...ca, ...out], { cwd: scratch });
    await keepIdentity(scratch, identity);
  });
}

/** Runs `act` with a private directory that is gone afterwards. */
export async function inScratch<T>(act: (directory: string) => Promise<T>): Promise<T> {
  const scratch = await mkdtemp(join(tmpdir(), 'director-openssl-'));
  try {
    return await act(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The certificate goes last: where it is, its key is. */
async function keepIdentity(scratch: string, identity: Identity): Promise<void> {
  writeDurably(identity.keyPath, await readFile(join(scratch, 'key.pem')));
  writeDurably(identity.certificatePath, await readFile(join(scratch, 'cert.pem')), 0o644);
}

function isComplete(identity: Identity): boolean {
  const certificate = readIfThere(identity.certificatePath);
  const key = readIfThere(identity.keyPath);
  if (certificate === undefined || key === undefined) return false;
  return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
}

function covers(path: string, hosts: readonly string[]): boolean {
  const certificate = new X509Certificate(readFileSync(path));
  const monthMs = 30 * 86_400_000;
  const soon = Date.now() + monthMs > Date.parse(certificate.validTo);
  const has = (host: string): boolean =>
    (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
  return !soon && hosts.every(has);
}
