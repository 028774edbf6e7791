/** The certificate from an EST server, start to end. */
import type { SecureContext } from 'node:tls';

import { proxyRules } from '../agent/io/http-proxy.ts';
import { readTextFile } from '../agent/io/text-file.ts';
import type { TokenKey } from '../agent/io/token/keys.ts';
import type { Token } from '../agent/io/token/token.ts';
import { createRequest, newcomer, type Requester } from './csr.ts';
import { meetDemands, type RequestContent } from './csr-attributes.ts';
import { EstConnection, operationUrl } from './est.ts';
import { birthContext, estAuthorities } from './est-client.ts';
import { caCertificates, csrAttributes, demandIssuer, enrol } from './est-enrol.ts';
import { issuedAmong, type Issued } from './issued.ts';
import { tlsName, type Provisioning } from './record.ts';
import { unset } from './unset.ts';

export interface Applicant {
  readonly key: TokenKey;
  readonly deviceId: string;
  /** Makes TLS with a client certificate other than the birth identity. */
  readonly context?: (caPem: string | undefined) => SecureContext;
}

/**
 * Asks the server for its CAs and its wishes, and then for the certificate.
 *
 * @throws OtaError ENROLMENT_REFUSED, ENROLMENT_UNSUPPORTED, GATEWAY_*, FILE_UNREADABLE
 * @throws OtaError CERTIFICATE_INVALID if what it issued is not for us, or not from the CA it has named
 */
export async function fromEst(
  all: Provisioning,
  token: Token,
  applicant: Applicant,
): Promise<Issued> {
  const { est_url: url } = all.settings.provisioning;
  if (url === undefined) throw unset('est_url', 'the EST server is needed here');
  const est = await connect(all, token, url, applicant);
  try {
    const authorities = await caCertificates(est);
    const { key, deviceId } = applicant;
    const asker = { url: operationUrl(url, 'csrattrs'), deviceId, keyType: key.type };
    const content = meetDemands(await csrAttributes(est), asker);
    sayIgnored(all, content);
    const request = await createRequest(token, key, requesterOf(all, deviceId, content));
    const answered = await enrol(est, request, waitingOf(all));
    const issued = issuedAmong(answered, `answer of ${url}`, key, all.now());
    return { ...issued, issuers: demandIssuer(issued, authorities, url) };
  } finally {
    await est.close();
  }
}

async function connect(
  all: Provisioning,
  token: Token,
  url: string,
  { context }: Applicant,
): Promise<EstConnection> {
  const { gateway } = all.settings;
  const caPem = await estAuthorities(all);
  const secret = await secretOf(all);
  const proxyFor = proxyRules(gateway.proxy, all.env);
  const { userAgent } = all;
  const common = { url, caPem, secret, timeoutMs: gateway.timeout, userAgent, proxyFor };
  const secureContext = context?.(caPem) ?? (await birthContext(all, token, caPem));
  return new EstConnection(secureContext === undefined ? common : { ...common, secureContext });
}

function requesterOf(all: Provisioning, deviceId: string, content: RequestContent): Requester {
  const { name, key } = newcomer(deviceId, tlsName(all));
  const named = content.hasSerialNumber ? [{ CN: [deviceId] }, { '2.5.4.5': [deviceId] }] : name;
  return { name: named, extensions: content.extensions, key };
}

function sayIgnored({ say }: Provisioning, { ignored }: RequestContent): void {
  if (ignored.length === 0) return;
  say('certificate', 'noted', `the EST server asks for unknown ${ignored.join(', ')}: ignored`);
}

function waitingOf({ settings, say }: Provisioning): Parameters<typeof enrol>[2] {
  return {
    maxMs: settings.provisioning.est_wait,
    onWait: (ms) => {
      const seconds = String(Math.ceil(ms / 1000));
      say('certificate', 'noted', `waits for approval: asks again in ${seconds} s`);
    },
  };
}

async function secretOf({ settings }: Provisioning): Promise<string | undefined> {
  const { est_secret_file: path } = settings.provisioning;
  if (path === undefined) return undefined;
  const remedy = 'check provisioning.est_secret_file';
  return (await readTextFile(path, 'enrolment secret', remedy)).trim();
}
