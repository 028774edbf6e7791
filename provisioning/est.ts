/** Enrolment over Secure Transport: the first certificate. RFC 7030, corrected by RFC 8951. */
import { createSecureContext, getCACertificates } from 'node:tls';

import { causeOf, isOtaError, OtaError } from '../agent/errors.ts';
import type { ProxyFor } from '../agent/io/http-proxy.ts';
import { HttpClient, type Response } from '../agent/io/http.ts';
import { parseCertificates } from './certificate.ts';
import type { CertificateRequest } from './csr.ts';

export interface EstServer {
  /** Base URL, before /.well-known/est. */
  readonly url: string;
  /** PEM; the system's roots if absent. */
  readonly caPem: string | undefined;
  /** `USER:PASSWORD`; the server decides what it takes without. */
  readonly secret: string | undefined;
  readonly timeoutMs: number;
  readonly userAgent: string;
  readonly proxyFor: ProxyFor;
}

/** A chain of certificates is a few kilobytes. */
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_SHOWN_CHARACTERS = 200;

/**
 * Sends a certificate request to simpleenroll.
 *
 * The server is authenticated by its certificate, we by the secret: there is no client certificate yet.
 *
 * Source: RFC 7030 §4.2.1, §4.2.3; RFC 8951 §3 (Base64 without Content-Transfer-Encoding).
 *
 * @returns DER of every certificate in the answer, in no particular order
 * @throws OtaError ENROLMENT_REFUSED for every answer without certificates
 * @throws OtaError GATEWAY_UNREACHABLE, GATEWAY_TLS, GATEWAY_TIMEOUT
 */
export async function enrol(server: EstServer, request: CertificateRequest): Promise<Uint8Array[]> {
  const ca = server.caPem ?? getCACertificates('system');
  const client = new HttpClient({
    secureContext: createSecureContext({ ca, minVersion: 'TLSv1.2' }),
    timeoutMs: server.timeoutMs,
    userAgent: server.userAgent,
    proxyFor: server.proxyFor,
  });
  const url = `${server.url.replace(/\/+$/u, '')}/.well-known/est/simpleenroll`;
  try {
    const response = await client.send({
      method: 'POST',
      url,
      body: Buffer.from(base64Lines(request.der)),
      headers: {
        'content-type': 'application/pkcs10',
        'content-transfer-encoding': 'base64',
        ...authorization(server.secret),
      },
    });
    const line = { url, status: response.status };
    return certificatesOf(line, await readText(response, line));
  } catch (error) {
    throw isOtaError(error) && error.code === 'GATEWAY_TLS' ? untrusted(error) : error;
  } finally {
    await client.close();
  }
}

/** The client's own remedy speaks of the gateway. */
function untrusted(error: OtaError<'GATEWAY_TLS'>): OtaError<'GATEWAY_TLS'> {
  const remedy = "check provisioning.est_ca (else gateway.ca), and this device's clock";
  return new OtaError('GATEWAY_TLS', { ...error.details, remedy }, { cause: error });
}

/** What was answered, for messages. */
export interface AnswerLine {
  readonly url: string;
  readonly status: number;
}

/** @throws OtaError ENROLMENT_REFUSED */
export function certificatesOf(line: AnswerLine, text: string): Uint8Array[] {
  const { status } = line;
  if (status !== 200) throw refused(line, text, REMEDIES[status] ?? OTHER);
  try {
    const certificates = parseCertificates(Buffer.from(text, 'base64'));
    if (certificates.length > 0) return certificates;
  } catch (cause) {
    if (isOtaError(cause)) throw cause;
    throw refused(line, `not PKCS#7 in Base64: ${causeOf(cause)}`, OTHER, cause);
  }
  throw refused(line, 'PKCS#7 without a certificate', OTHER);
}

const OTHER = 'check provisioning.est_url; see the log of the EST server';
const REMEDIES: Readonly<Record<number, string>> = {
  202: 'the request waits for approval: run "ota-agent provision" again later',
  400: 'the EST server does not accept the request: check device.id and identity.tls_key_type',
  401: 'put a valid USER:PASSWORD into provisioning.est_secret_file',
  403: 'put a valid USER:PASSWORD into provisioning.est_secret_file',
};

/** @throws OtaError ENROLMENT_REFUSED for more than any chain of certificates has */
export async function readText(response: Response, line: AnswerLine): Promise<string> {
  const chunks: Uint8Array[] = [];
  let lengthBytes = 0;
  for await (const chunk of response.body) {
    lengthBytes += chunk.byteLength;
    if (lengthBytes > MAX_ANSWER_BYTES) {
      throw refused(line, 'an answer without end', OTHER);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function authorization(secret: string | undefined): Record<string, string> {
  if (secret === undefined) return {};
  return { authorization: `Basic ${Buffer.from(secret).toString('base64')}` };
}

export function base64Lines(der: Uint8Array): string {
  return Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/gu, '$&\n');
}

function refused(
  { url, status }: AnswerLine,
  answer: string,
  remedy: string,
  cause?: unknown,
): OtaError<'ENROLMENT_REFUSED'> {
  const details = { url, status, answer: answer.trim().slice(0, MAX_SHOWN_CHARACTERS), remedy };
  return new OtaError('ENROLMENT_REFUSED', details, cause === undefined ? undefined : { cause });
}
