/** Step 3: the device certificate, for the key in the token, stored beside it. */
import { isOtaError, OtaError } from '../agent/errors.ts';
import {
  checkDeviceCertificate,
  parseDeviceCertificate,
  type DeviceCertificate,
} from '../agent/io/tls.ts';
import { readCertificates } from '../agent/io/token/certificate.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import { certificatesIn, isAbsent } from './certificate-file.ts';
import { createRequest, newcomer } from './csr.ts';
import { fromEst } from './enroll-est.ts';
import { fromShared } from './enroll-shared.ts';
import { certificateFile } from './imported-key.ts';
import { issuedAmong, storeIssued, type Issued } from './issued.ts';
import { leaveFile } from './leave-file.ts';
import { deviceId, tlsName, type Outcome, type Provisioning } from './record.ts';
import { noteCertificate } from './rotation-record.ts';
import { forgetSharedCredential } from './shared-cred.ts';
import { unset } from './unset.ts';

/**
 * Makes sure that the token holds exactly one certificate, valid and for its TLS key.
 *
 * A certificate that was issued and then lost to a power cut is asked for again, for the same key.
 *
 * @returns the certificate; its common name is the device id from here on
 * @throws OtaError ENROLMENT_REFUSED, ENROLMENT_UNSUPPORTED, CREDENTIALS_INVALID, CERTIFICATE_INVALID,
 *   FILE_UNREADABLE, GATEWAY_*
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
  const issued = present ?? (await obtain(all, token, key));
  const { certificate } = issued;
  demandDeviceId(all, certificate);
  const name = tlsName(all);
  // Beside a key that others have made, other certificates are theirs.
  if (present === undefined || (stored.length > 1 && name === undefined)) {
    storeIssued(token, issued, name);
    await noteCertificate(all.record, certificate.fingerprint);
  }
  await rememberDeviceId(all, certificate);
  if (all.settings.provisioning.mode === 'shared-cred') await forgetSharedCredential(all);
  sayCertificate(all, present === undefined ? 'done now' : 'found done', issued);
  return certificate;
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
  sayCertificate(all, 'found done', { certificate, issuers: [] });
  return certificate;
}

/** In a list of none or one: what the token holds may be cut off, foreign or expired. */
function usable(all: Provisioning, der: Uint8Array, key: TokenKey): Issued[] {
  try {
    const certificate = parseDeviceCertificate(der, 'certificate in the token');
    checkDeviceCertificate(certificate, key.publicKey, all.now());
    return [{ certificate, issuers: [] }];
  } catch (error) {
    if (isOtaError(error) && error.code === 'CERTIFICATE_INVALID') return [];
    throw error;
  }
}

async function obtain(all: Provisioning, token: Token, key: TokenKey): Promise<Issued> {
  switch (all.settings.provisioning.mode) {
    case 'est':
      return fromEst(all, token, { key, deviceId: await deviceId(all) });
    case 'shared-cred':
      return fromShared(all, token, key);
    case 'manual':
      return (await fromFile(all, key)) ?? leaveRequest(all, token, key);
    case 'device-cred': {
      const issued = await fromFile(all, key);
      if (issued !== undefined) return issued;
      throw new OtaError('NOT_PROVISIONED', {
        missing: 'device certificate',
        remedy:
          'name it in provisioning.certificate_file; provisioning.mode = "manual" makes the request for it',
      });
    }
  }
}

async function fromFile(
  { settings, now }: Provisioning,
  key: TokenKey,
): Promise<Issued | undefined> {
  const { mode } = settings.provisioning;
  const path = certificateFile(settings);
  if (path === undefined) return undefined;
  try {
    return issuedAmong(await certificatesIn(path), path, key, now());
  } catch (error) {
    if (mode === 'manual' && isAbsent(error)) return undefined;
    throw error;
  }
}

/** The manual way ends here until somebody has had the request signed. */
async function leaveRequest(all: Provisioning, token: Token, key: TokenKey): Promise<never> {
  const { csr_file: path, certificate_file: answer } = all.settings.provisioning;
  if (path === undefined) throw unset('csr_file', 'the certificate request is left there');
  if (answer === undefined) throw unset('certificate_file', 'the certificate is expected there');
  const request = await createRequest(token, key, newcomer(await deviceId(all), tlsName(all)));
  await leaveFile('provisioning.csr_file', path, request.pem, 0o644);
  throw new OtaError('NOT_PROVISIONED', {
    missing: `certificate for the request in ${path}`,
    remedy: `have it signed, save the certificate as ${answer} and run "ota-agent provision" again`,
  });
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

export function sayCertificate({ say }: Provisioning, outcome: Outcome, issued: Issued): void {
  const { commonName, validTo } = issued.certificate;
  const facts = `device ${commonName}, valid to ${new Date(validTo).toISOString()}`;
  const top = issued.issuers.at(-1);
  if (top === undefined) {
    say('certificate', outcome, facts);
    return;
  }
  const fingerprint = top.fingerprint256.replaceAll(':', '').toLowerCase();
  const by = top.subject.replaceAll('\n', ', ');
  say('certificate', outcome, `${facts}, from ${by}, SHA-256 ${fingerprint}`);
}
