/** TLS to the EST server: whom to believe, and as what the device was born as before it is anything else. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';

import { PKCS11_PREFIX } from '../agent/config-pkcs11-uri.ts';
import { causeOf, OtaError } from '../agent/errors.ts';
import { readAuthorities } from '../agent/io/authorities.ts';
import { readTextFile } from '../agent/io/text-file.ts';
import { contextOptions, createIdentityContext, type ServerTrust } from '../agent/io/tls.ts';
import { readCertificates } from '../agent/io/token/certificate.ts';
import type { ObjectName } from '../agent/io/token/cryptoki.ts';
import { findNamedKey, readNamedCertificate } from '../agent/io/token/named-objects.ts';
import type { Token } from '../agent/io/token/token.ts';
import type { Settings } from '../agent/settings.ts';
import type { Provisioning } from './record.ts';
import { unset } from './unset.ts';

/** A client certificate with what follows it, and its key; both PEM. */
export interface PemIdentity {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/**
 * CAs that the EST server may come from.
 *
 * @returns PEM; `undefined` where the system's are meant
 * @throws OtaError FILE_UNREADABLE, TOKEN_OBJECT, CERTIFICATE_INVALID
 */
export function estAuthorities({
  settings,
  env,
}: {
  readonly settings: Settings;
  readonly env: NodeJS.ProcessEnv;
}): Promise<string | undefined> {
  const { gateway, provisioning, token } = settings;
  return provisioning.est_ca === undefined
    ? readAuthorities('gateway.ca', gateway.ca, token, env)
    : readAuthorities('provisioning.est_ca', provisioning.est_ca, token, env);
}

/**
 * The birth identity that the settings name, in files or in the token.
 *
 * @param caPem - CAs of the EST server; the system's if absent
 * @returns `undefined` if they name none
 * @throws OtaError FILE_UNREADABLE, CONFIG_INVALID, CERTIFICATE_INVALID, NOT_PROVISIONED
 * @throws OtaError TOKEN_MODULE, TOKEN_OBJECT
 */
export async function birthContext(
  { settings }: Provisioning,
  token: Token,
  caPem: string | undefined,
): Promise<SecureContext | undefined> {
  const { est_client_key: key, est_client_certificate: place } = settings.provisioning;
  if (key === undefined) return undefined;
  if (!key.startsWith(PKCS11_PREFIX)) {
    if (place === undefined) throw unset('est_client_certificate', 'the key is a file');
    const certificatePem = await certificateAt(token, place);
    return contextOf({ certificatePem, keyPem: await keyAt(key) }, { caPem });
  }
  const name = findNamedKey(token, 'provisioning.est_client_key', key);
  const certificatePem =
    place === undefined ? certificateOf(token, name) : await certificateAt(token, place);
  const { tls_backend: wanted } = settings.token;
  const backend = wanted === 'file' ? 'auto' : wanted;
  return createIdentityContext(token, { key: name, certificatePem }, { caPem }, backend).context;
}

/** TLS with a key that is in memory. */
export function contextOf(
  { certificatePem, keyPem }: PemIdentity,
  trust: ServerTrust,
): SecureContext {
  return createSecureContext({ ...contextOptions(trust), cert: certificatePem, key: keyPem });
}

async function certificateAt(token: Token, place: string): Promise<string> {
  if (!place.startsWith(PKCS11_PREFIX)) return readTextFile(place, 'birth certificate', REMEDY);
  return readNamedCertificate(token, 'provisioning.est_client_certificate', place);
}

/** Of the same CKA_ID, as other programs have it, else of the same label. */
function certificateOf(token: Token, key: ObjectName): string {
  const { label, id } = key;
  const [der] = [...readCertificates(token, key), ...readCertificates(token, { label, id })];
  if (der !== undefined) return new X509Certificate(der).toString();
  const missing = `certificate of key "${label}" in token ${token.uri}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: REMEDY });
}

async function keyAt(path: string): Promise<string> {
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
