/** Where another certificate comes from, and what it has to be before it may replace the one in use. */
import { X509Certificate } from 'node:crypto';

import { isOtaError, OtaError } from '../agent/errors.ts';
import { issuersOf, parseEach } from '../agent/io/certificate-chain.ts';
import { proxyRules } from '../agent/io/http-proxy.ts';
import {
  checkDeviceCertificate,
  parseDeviceCertificate,
  type DeviceCertificate,
} from '../agent/io/tls.ts';
import type { ObjectName } from '../agent/io/token/cryptoki.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import type { Instant } from '../agent/uptane/time.ts';
import { certificatesIn, isAbsent } from './certificate-file.ts';
import { createRequest, holderOf } from './csr.ts';
import { EstConnection } from './est.ts';
import { estAuthorities } from './est-client.ts';
import { caCertificates, demandIssuer } from './est-enrol.ts';
import { reenrol } from './est-reenrol.ts';
import type { Issued } from './issued.ts';
import { leaveFile } from './leave-file.ts';
import type { Means } from './rotate-means.ts';

/** What is to follow what. */
export interface Succession {
  readonly of: 'certificate' | 'tls';
  readonly key: TokenKey;
  readonly name: ObjectName;
  /** In use until the gateway has accepted its successor. */
  readonly before: DeviceCertificate;
  readonly now: Instant;
}

/** The first certificate that may succeed; others are foreign, cut off, or the one in use. */
export function findSuccessor(
  found: readonly Uint8Array[],
  succession: Succession,
): DeviceCertificate | undefined {
  for (const der of found) {
    try {
      return parseSuccessor(der, 'certificate', succession);
    } catch (error) {
      if (!isOtaError(error) || error.code !== 'CERTIFICATE_INVALID') throw error;
    }
  }
  return undefined;
}

/**
 * Gets a certificate in the way that `provisioning.mode` says.
 *
 * @throws OtaError NOT_PROVISIONED where a person has to bring it first
 * @throws OtaError ENROLMENT_REFUSED, CERTIFICATE_INVALID, CONFIG_INVALID, GATEWAY_*
 */
export async function anotherCertificate(
  means: Means,
  token: Token,
  succession: Succession,
): Promise<Issued> {
  const { mode, est_url: url } = means.settings.provisioning;
  const isByEst = mode === 'est' || mode === 'shared-cred';
  if (isByEst && url !== undefined) return fromEst(means, token, succession, url);
  return (await fromFile(means, succession)) ?? leaveRequest(means, token, succession);
}

async function fromEst(
  means: Means,
  token: Token,
  succession: Succession,
  url: string,
): Promise<Issued> {
  const caPem = await estAuthorities(means);
  const { keys, certificate } = means.identity();
  const request = await requestFor(token, succession);
  const current = { fingerprint: certificate.fingerprint, use: 'this' } as const;
  const identity = means.load({ tls: keys.tls, certificate: current, is: 'preferred' }, caPem);
  const est = new EstConnection({
    url,
    caPem,
    secret: undefined,
    timeoutMs: means.settings.gateway.timeout,
    userAgent: means.userAgent,
    secureContext: identity.secureContext,
    proxyFor: proxyRules(means.settings.gateway.proxy, means.env),
  });
  try {
    const authorities = await caCertificates(est);
    const answered = await reenrol(est, request);
    const issued = issuedOf(answered, succession) ?? refuse(answered, url, succession);
    return { ...issued, issuers: demandIssuer(issued, authorities, url) };
  } finally {
    await est.close();
    identity.token.close();
  }
}

/** Where none will do, that for our key says why; else the first. */
function refuse(ders: readonly Uint8Array[], url: string, succession: Succession): Issued {
  const { publicKey } = succession.key;
  const ours = parseEach(ders).find((one) => one.publicKey.equals(publicKey))?.raw ?? ders[0];
  const certificate = parseSuccessor(ours ?? new Uint8Array(), `answer of ${url}`, succession);
  return { certificate, issuers: [] };
}

/** The successor with the CAs above it that came along. */
function issuedOf(ders: readonly Uint8Array[], succession: Succession): Issued | undefined {
  const certificate = findSuccessor(ders, succession);
  if (certificate === undefined) return undefined;
  return { certificate, issuers: issuersOf(new X509Certificate(certificate.pem), parseEach(ders)) };
}

/** The file may still hold the certificate of the enrolment. */
async function fromFile({ settings }: Means, succession: Succession): Promise<Issued | undefined> {
  const { certificate_file: path } = settings.provisioning;
  if (path === undefined) return undefined;
  try {
    return issuedOf(await certificatesIn(path), succession);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** The manual way waits here until somebody has had the request signed. */
async function leaveRequest(
  { settings }: Means,
  token: Token,
  succession: Succession,
): Promise<never> {
  const { csr_file: path, certificate_file: answer, mode } = settings.provisioning;
  if (path === undefined || answer === undefined) {
    const name = path === undefined ? 'csr_file' : 'certificate_file';
    throw new OtaError('CONFIG_INVALID', {
      file: 'settings',
      line: 0,
      key: `provisioning.${name}`,
      problem: `is not set, and mode "${mode}" asks for a certificate with files`,
      remedy: `add ${name} = "…" to [provisioning]`,
    });
  }
  const { pem } = await requestFor(token, succession);
  await leaveFile('provisioning.csr_file', path, pem, 0o644);
  throw new OtaError('NOT_PROVISIONED', {
    missing: `certificate for the request in ${path}`,
    remedy: `have it signed and save the certificate as ${answer}: the next cycle goes on with it; "ota-agent rotate cancel" gives up`,
  });
}

async function requestFor(
  token: Token,
  { key, name, before }: Succession,
): ReturnType<typeof createRequest> {
  return createRequest(token, key, holderOf(before.pem, name));
}

/** @throws OtaError CERTIFICATE_INVALID with the reason why it may not take the other one's place */
function parseSuccessor(
  bytes: Uint8Array,
  what: string,
  succession: Succession,
): DeviceCertificate {
  const { before, key, now, of } = succession;
  const certificate = parseDeviceCertificate(bytes, what);
  checkDeviceCertificate(certificate, key.publicKey, now);
  if (certificate.commonName !== before.commonName) {
    throw unfit(certificate, `the gateway knows this device as ${before.commonName}`);
  }
  if (certificate.fingerprint === before.fingerprint) {
    throw unfit(certificate, 'it is the one in use');
  }
  if (of === 'certificate' && certificate.validTo < before.validTo) {
    throw unfit(certificate, 'it ends before the one in use');
  }
  return certificate;
}

function unfit(
  { commonName }: DeviceCertificate,
  problem: string,
): OtaError<'CERTIFICATE_INVALID'> {
  const remedy = 'see what the CA issues; the certificate in use stays';
  const what = `new certificate of ${commonName}`;
  return new OtaError('CERTIFICATE_INVALID', { what, problem, remedy });
}
