/** Step 3: the device certificate, for the key in the token, stored beside it. */
import { randomUUID } from 'node:crypto';

import { isOtaError, OtaError } from '../agent/errors.ts';
import { proxyRules } from '../agent/io/http-proxy.ts';
import { readAuthorities } from '../agent/io/authorities.ts';
import { replaceFile } from '../agent/io/durable-file.ts';
import { readTextFile } from '../agent/io/text-file.ts';
import {
  checkDeviceCertificate,
  parseDeviceCertificate,
  type DeviceCertificate,
} from '../agent/io/tls.ts';
import { readCertificates, storeCertificate } from '../agent/io/token/certificate.ts';
import type { ObjectName } from '../agent/io/token/cryptoki.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import { certificateParts } from './certificate.ts';
import { createRequest, newcomer, type CertificateRequest } from './csr.ts';
import { enrol } from './est.ts';
import { noteCertificate } from './rotation-record.ts';
import { fixed, type Outcome, type Provisioning } from './record.ts';

/**
 * Makes sure that the token holds exactly one certificate, valid and for its TLS key.
 *
 * A certificate that was issued and then lost to a power cut is asked for again, for the same key.
 *
 * @returns the certificate; its common name is the device id from here on
 * @throws OtaError ENROLMENT_REFUSED, CERTIFICATE_INVALID, FILE_UNREADABLE, GATEWAY_*
 * @throws OtaError NOT_PROVISIONED, with what to do, where a person has to bring the certificate
 */
export async function provisionCertificate(
  all: Provisioning,
  token: Token,
  key: TokenKey,
): Promise<DeviceCertificate> {
  if (all.found?.certificate !== undefined) return acceptNamed(all, all.found.certificate, key);
  const stored = readCertificates(token, all.found?.tls);
  const present = stored.flatMap((der) => usable(all, der, key)).at(0);
  const certificate = present ?? (await obtain(all, token, key));
  demandDeviceId(all, certificate);
  const name = tlsName(all);
  // Beside a key that others have made, other certificates are theirs.
  if (present === undefined || (stored.length > 1 && name === undefined)) {
    storeCertificate(token, certificateParts(certificate.pem), name);
    await noteCertificate(all.record, certificate.fingerprint);
  }
  await rememberDeviceId(all, certificate);
  sayCertificate(all, present === undefined ? 'done now' : 'found done', certificate);
  return certificate;
}

/** The key that is meant, where it is not simply ours. */
function tlsName({ found, choice }: Provisioning): ObjectName | undefined {
  return found?.tls ?? choice?.tls;
}

/** Who put it into the token is who has to replace it. */
async function acceptNamed(
  all: Provisioning,
  der: Uint8Array,
  key: TokenKey,
): Promise<DeviceCertificate> {
  const certificate = parseDeviceCertificate(der, 'certificate of identity.tls_certificate');
  checkDeviceCertificate(certificate, key.publicKey, all.now());
  demandDeviceId(all, certificate);
  await rememberDeviceId(all, certificate);
  sayCertificate(all, 'found done', certificate);
  return certificate;
}

/** In a list of none or one: what the token holds may be cut off, foreign or expired. */
function usable(all: Provisioning, der: Uint8Array, key: TokenKey): DeviceCertificate[] {
  try {
    const certificate = parseDeviceCertificate(der, 'certificate in the token');
    checkDeviceCertificate(certificate, key.publicKey, all.now());
    return [certificate];
  } catch (error) {
    if (isOtaError(error) && error.code === 'CERTIFICATE_INVALID') return [];
    throw error;
  }
}

async function obtain(all: Provisioning, token: Token, key: TokenKey): Promise<DeviceCertificate> {
  const { mode } = all.settings.provisioning;
  const request = async (): Promise<CertificateRequest> =>
    createRequest(token, key, newcomer(await deviceId(all), tlsName(all)));
  switch (mode) {
    case 'est':
      return fromEst(all, key, await request());
    case 'manual':
      return (await fromFile(all, key)) ?? leaveRequest(all, await request());
    case 'device-cred': {
      const certificate = await fromFile(all, key);
      if (certificate !== undefined) return certificate;
      throw new OtaError('NOT_PROVISIONED', {
        missing: 'device certificate',
        remedy:
          'name it in provisioning.certificate_file; provisioning.mode = "manual" makes the request for it',
      });
    }
  }
}

async function fromEst(
  all: Provisioning,
  key: TokenKey,
  request: CertificateRequest,
): Promise<DeviceCertificate> {
  const { provisioning, gateway } = all.settings;
  if (provisioning.est_url === undefined) throw unset('est_url', 'the EST server is needed here');
  const server = {
    url: provisioning.est_url,
    caPem: await authorities(all),
    secret: (await optionalFile(provisioning.est_secret_file, 'enrolment secret'))?.trim(),
    timeoutMs: gateway.timeout,
    userAgent: all.userAgent,
    proxyFor: proxyRules(gateway.proxy, all.env),
  };
  const answered = await enrol(server, request);
  const certificates = answered.map((der) =>
    parseDeviceCertificate(der, `answer of ${server.url}`),
  );
  const ours = certificates.find((one) => one.publicKey.equals(key.publicKey)) ?? certificates[0];
  if (ours === undefined) throw new OtaError('BUG', { what: 'enrol returned no certificate' });
  checkDeviceCertificate(ours, key.publicKey, all.now());
  return ours;
}

function authorities({ settings, env }: Provisioning): Promise<string | undefined> {
  const { gateway, provisioning, token } = settings;
  return provisioning.est_ca === undefined
    ? readAuthorities('gateway.ca', gateway.ca, token, env)
    : readAuthorities('provisioning.est_ca', provisioning.est_ca, token, env);
}

async function fromFile(
  { settings, now }: Provisioning,
  key: TokenKey,
): Promise<DeviceCertificate | undefined> {
  const path = settings.provisioning.certificate_file;
  if (path === undefined) return undefined;
  let pem: string;
  try {
    pem = await readTextFile(
      path,
      'device certificate',
      'bring the certificate that the CA issued',
    );
  } catch (error) {
    if (settings.provisioning.mode === 'manual' && isAbsent(error)) return undefined;
    throw error;
  }
  const certificate = parseDeviceCertificate(Buffer.from(pem), path);
  checkDeviceCertificate(certificate, key.publicKey, now());
  return certificate;
}

/** The manual way ends here until somebody has had the request signed. */
async function leaveRequest(
  { settings }: Provisioning,
  request: CertificateRequest,
): Promise<never> {
  const { csr_file: path, certificate_file: answer } = settings.provisioning;
  if (path === undefined) throw unset('csr_file', 'the certificate request is left there');
  if (answer === undefined) throw unset('certificate_file', 'the certificate is expected there');
  await replaceFile(path, request.pem, 0o644);
  throw new OtaError('NOT_PROVISIONED', {
    missing: `certificate for the request in ${path}`,
    remedy: `have it signed, save the certificate as ${answer} and run "ota-agent provision" again`,
  });
}

async function deviceId(all: Provisioning): Promise<string> {
  return all.settings.device.id ?? fixed(all.record, 'device-id', randomUUID);
}

export async function rememberDeviceId(
  { record }: Provisioning,
  { commonName }: DeviceCertificate,
): Promise<void> {
  if ((await record.get('device-id')) === commonName) return;
  await record.put('device-id', commonName);
}

/** A CA may put another name into the certificate; the gateway believes the certificate. */
export function demandDeviceId(
  { settings }: Provisioning,
  { commonName }: DeviceCertificate,
): void {
  const { id } = settings.device;
  if (id === undefined || id === commonName) return;
  throw new OtaError('CERTIFICATE_INVALID', {
    what: `certificate of ${commonName}`,
    problem: `device.id is ${id}`,
    remedy: 'set device.id to the name in the certificate, or have another one issued',
  });
}

export function sayCertificate(
  { say }: Provisioning,
  outcome: Outcome,
  { commonName, validTo }: DeviceCertificate,
): void {
  say('certificate', outcome, `device ${commonName}, valid to ${new Date(validTo).toISOString()}`);
}

async function optionalFile(path: string | undefined, what: string): Promise<string | undefined> {
  if (path === undefined) return undefined;
  return readTextFile(path, what, 'check the [provisioning] settings');
}

function isAbsent(error: unknown): boolean {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

function unset(name: string, why: string): OtaError<'CONFIG_INVALID'> {
  return new OtaError('CONFIG_INVALID', {
    file: 'settings',
    line: 0,
    key: `provisioning.${name}`,
    problem: `is not set, and ${why}`,
    remedy: `add ${name} = "…" to [provisioning]`,
  });
}
