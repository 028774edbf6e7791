/**
 * A credential that the server makes, as aktualizr gets it: `POST /devices`.
 *
 * For migration only. The server makes the private key, so it may have a copy, and whoever has the
 * archive that all devices share can become any device.
 */
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { causeOf, isOtaError, OtaError } from '../agent/errors.ts';
import { replaceFile } from '../agent/io/durable-file.ts';
import { readTextFile } from '../agent/io/text-file.ts';
import { parseDeviceCertificate } from '../agent/io/tls.ts';
import type { Settings } from '../agent/settings.ts';
import { readCredentials } from './credentials-zip.ts';
import type { PemIdentity } from './est-client.ts';
import { pemOf } from './pkcs12.ts';
import type { Provisioning } from './record.ts';
import { askForCredential, USED } from './shared-request.ts';
import { unset } from './unset.ts';

/** Key and certificate, as they came. */
export interface SharedCredential extends PemIdentity {
  readonly privateKey: KeyObject;
  /** DER, the device's first. */
  readonly certificates: readonly Uint8Array[];
  readonly deviceId: string;
}

/** On every run, as long as the device uses such a key. */
export const SERVER_KEY =
  'the TLS key came with provisioning.mode = "shared-cred": THE SERVER MADE THE PRIVATE KEY, and whoever ' +
  'has a copy is this device; for migration only: ota-agent rotate tls makes one in the token';

/** Whether the server's key becomes the device's, because there is no way to another one. */
export function usesServerKey({ provisioning, token }: Settings): boolean {
  const hasWay = provisioning.est_url !== undefined && token.tls_backend !== 'file';
  return provisioning.mode === 'shared-cred' && !hasWay;
}

/**
 * Refuses a credential that could not be used, before the server has given it away.
 *
 * @throws OtaError CONFIG_INVALID
 */
export function demandSharedUse(settings: Settings): void {
  if (!usesServerKey(settings) || settings.identity.allow_imported) return;
  throw new OtaError('CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key: 'identity.allow_imported',
    problem: 'is false, and in mode "shared-cred" the server makes the private key',
    remedy:
      'set provisioning.est_url, where a key that is made in the token gets its certificate (not with ' +
      'token.tls_backend = "file"); or set ' +
      'identity.allow_imported = true, and live with a key that others may have',
  });
}

/**
 * The credential that the server has made for this device, asked for once.
 *
 * The server gives it once. So it is on disk before it is used, readable by the agent alone, until
 * {@link forgetSharedCredential}; and that it has been asked for is on record before.
 *
 * @throws OtaError CONFIG_INVALID, FILE_UNREADABLE, CREDENTIALS_INVALID
 * @throws OtaError ENROLMENT_REFUSED, GATEWAY_*
 */
export async function sharedCredential(all: Provisioning): Promise<SharedCredential> {
  const kept = await keptCredential(all);
  if (kept !== undefined) return kept;
  const { credentials_file: path } = all.settings.provisioning;
  if (path === undefined) throw unset('credentials_file', "aktualizr's archive is needed here");
  const password = await passwordOf(all);
  const shared = await readCredentials(path, password);
  const pem = pemOf(await askForCredential(all, shared, password));
  await mkdir(all.settings.storage.path, { recursive: true, mode: 0o700 });
  await replaceFile(pathOf(all), pem.keyPem + pem.certificatePem);
  return credentialOf(pem.keyPem + pem.certificatePem, pathOf(all));
}

/** Whether this device has had a credential, and has made of it what it wanted. */
export async function hasUsedSharedCredential({ record }: Provisioning): Promise<boolean> {
  return (await record.get('shared-credential')) === USED;
}

/** Removes the copy on disk. What flash memory makes of that is the board's affair. */
export async function forgetSharedCredential(all: Provisioning): Promise<void> {
  await all.record.put('shared-credential', USED);
  await rm(pathOf(all), { force: true });
}

function pathOf({ settings }: Provisioning): string {
  return join(settings.storage.path, 'shared-credential.pem');
}

/** The answer of the server that a run before has kept and not used up. */
export async function keptCredential(all: Provisioning): Promise<SharedCredential | undefined> {
  try {
    return credentialOf(await readFile(pathOf(all), 'utf8'), pathOf(all));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    if (isOtaError(error)) throw error;
    const remedy = 'check the permissions of storage.path';
    const details = { path: pathOf(all), what: 'credential', cause: causeOf(error), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause: error });
  }
}

const KEY = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/u;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/gu;

function credentialOf(text: string, path: string): SharedCredential {
  const [keyPem = ''] = KEY.exec(text) ?? [];
  const pems = text.match(CERTIFICATE) ?? [];
  const certificates = pems.map((pem) => new X509Certificate(pem).raw);
  const { commonName } = parseDeviceCertificate(Buffer.from(pems[0] ?? ''), path);
  const certificatePem = pems.join('');
  return {
    privateKey: createPrivateKey(keyPem),
    keyPem,
    certificatePem,
    certificates,
    deviceId: commonName,
  };
}

async function passwordOf({ settings }: Provisioning): Promise<string> {
  const { credentials_password_file: path } = settings.provisioning;
  if (path === undefined) return '';
  const remedy = 'check provisioning.credentials_password_file';
  return (await readTextFile(path, 'password', remedy)).replace(/\r?\n$/u, '');
}
