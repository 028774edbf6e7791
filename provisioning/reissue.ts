/** Where another certificate comes from, and what it has to be before it may replace the one in use. */
import { readFile } from 'node:fs/promises';

import { causeOf, isOtaError, OtaError } from '../agent/errors.ts';
import { replaceFile } from '../agent/io/durable-file.ts';
import { proxyRules } from '../agent/io/http-proxy.ts';
import { HttpClient } from '../agent/io/http.ts';
import { readTextFile } from '../agent/io/text-file.ts';
import {
  checkDeviceCertificate,
  parseDeviceCertificate,
  type DeviceCertificate,
} from '../agent/io/tls.ts';
import type { ObjectName } from '../agent/io/token/cryptoki.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import type { Instant } from '../agent/uptane/time.ts';
import { createRequest, holderOf } from './csr.ts';
import { reenrol } from './est-reenrol.ts';
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
): Promise<DeviceCertificate> {
  const { mode } = means.settings.provisioning;
  if (mode === 'est') return fromEst(means, token, succession);
  return (await fromFile(means, succession)) ?? leaveRequest(means, token, succession);
}

async function fromEst(
  means: Means,
  token: Token,
  succession: Succession,
): Promise<DeviceCertificate> {
  const { provisioning, gateway } = means.settings;
  const { est_url: url = '' } = provisioning;
  const ca = provisioning.est_ca ?? gateway.ca;
  const caPem =
    ca === undefined ? undefined : await readTextFile(ca, 'CA of the EST server', 'check est_ca');
  const { keys, certificate } = means.identity();
  const request = await requestFor(token, succession);
  const current = { fingerprint: certificate.fingerprint, use: 'this' } as const;
  const identity = means.load({ tls: keys.tls, certificate: current, is: 'preferred' }, caPem);
  const http = new HttpClient({
    secureContext: identity.secureContext,
    timeoutMs: gateway.timeout,
    userAgent: means.userAgent,
    proxyFor: proxyRules(gateway.proxy, means.env),
  });
  try {
    const answered = await reenrol(url, http, request);
    const ours = findSuccessor(answered, succession);
    // Where none will do, the first says why.
    return ours ?? parseSuccessor(answered[0] ?? new Uint8Array(), `answer of ${url}`, succession);
  } finally {
    await http.close();
    identity.token.close();
  }
}

/** The file may still hold the certificate of the enrolment. */
async function fromFile(
  { settings }: Means,
  succession: Succession,
): Promise<DeviceCertificate | undefined> {
  const { certificate_file: path } = settings.provisioning;
  if (path === undefined) return undefined;
  try {
    return findSuccessor([await readFile(path)], succession);
  } catch (error) {
    if (isOtaError(error)) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    const remedy = 'bring the certificate that the CA issued';
    const details = { path, what: 'device certificate', cause: causeOf(error), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause: error });
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
  await replaceFile(path, pem, 0o644);
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
