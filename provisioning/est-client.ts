/** TLS to the EST server as what the device was born as, before it is anything else. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

import { causeOf, OtaError } from '../agent/errors.ts';
import { readTextFile } from '../agent/io/text-file.ts';
import { createEngineContext } from '../agent/io/tls-engine.ts';
import { readCertificates } from '../agent/io/token/certificate.ts';
import type { Token } from '../agent/io/token/token.ts';
import type { Provisioning } from './record.ts';

/** A client certificate with what follows it, and its key; both PEM. */
export interface PemIdentity {
  readonly certificatePem: string;
  readonly keyPem: string;
}

const MIN_VERSION = { minVersion: 'TLSv1.2' } as const;

/**
 * The birth identity that the settings name, in files or in the token.
 *
 * @param caPem - CAs of the EST server; the system's if absent
 * @returns `undefined` if they name none
 * @throws OtaError FILE_UNREADABLE, CONFIG_INVALID, NOT_PROVISIONED, TOKEN_MODULE, TOKEN_OBJECT
 */
export async function birthContext(
  { settings }: Provisioning,
  token: Token,
  caPem: string | undefined,
): Promise<SecureContext | undefined> {
  const { est_client_key: key, est_client_certificate: certificate } = settings.provisioning;
  if (key === undefined) return undefined;
  const label = labelOf(key);
  if (certificate === undefined && label === undefined) {
    throw invalid('est_client_certificate', 'is not set, and the key is a file');
  }
  const certificatePem = await certificateOf(token, certificate ?? key);
  if (label === undefined) {
    return contextOf({ certificatePem, keyPem: await keyOf(key) }, caPem);
  }
  const options = { ca: caPem ?? getCACertificates('system'), cert: certificatePem };
  return createEngineContext(token, { label, id: 0 }, { ...options, ...MIN_VERSION });
}

/** TLS with a key that is in memory. */
export function contextOf(
  { certificatePem, keyPem }: PemIdentity,
  caPem: string | undefined,
): SecureContext {
  const ca = caPem ?? getCACertificates('system');
  return createSecureContext({ ca, cert: certificatePem, key: keyPem, ...MIN_VERSION });
}

async function certificateOf(token: Token, place: string): Promise<string> {
  const label = labelOf(place);
  if (label === undefined) return readTextFile(place, 'birth certificate', REMEDY);
  const [der] = readCertificates(token, label);
  if (der !== undefined) return new X509Certificate(der).toString();
  const missing = `certificate "${label}" in token ${token.uri}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: REMEDY });
}

async function keyOf(path: string): Promise<string> {
  const pem = await readTextFile(path, 'birth key', REMEDY);
  try {
    createPrivateKey(pem);
    return pem;
  } catch (cause) {
    const details = { path, what: 'birth key', cause: causeOf(cause), remedy: REMEDY };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}

const REMEDY = 'check provisioning.est_client_key and est_client_certificate';

/** `undefined` for a path. */
function labelOf(place: string): string | undefined {
  const object = /^pkcs11:(?:.*;)?object=([^;]+)/u.exec(place)?.[1];
  if (object === undefined) return undefined;
  try {
    return decodeURIComponent(object);
  } catch {
    throw invalid('est_client_key', 'has a "%" that is no percent-encoding');
  }
}

function invalid(name: string, problem: string): OtaError<'CONFIG_INVALID'> {
  const key = `provisioning.${name}`;
  return new OtaError('CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key,
    problem,
    remedy: REMEDY,
  });
}
