/**
 * Enrolment over Secure Transport: how to speak to the server, and how to read what it answers.
 * RFC 7030, corrected by RFC 8951.
 */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

import { causeOf, isOtaError, OtaError } from '../agent/errors.ts';
import type { ProxyFor } from '../agent/io/http-proxy.ts';
import { HttpClient, type Response } from '../agent/io/http.ts';
import { parseCertificates } from './certificate.ts';

export interface EstServer {
  /** Base URL, before /.well-known/est; or with it, and the label of a CA after it. */
  readonly url: string;
  /** PEM; the system's roots if absent. */
  readonly caPem: string | undefined;
  /** `USER:PASSWORD`; the server decides what it takes without. */
  readonly secret: string | undefined;
  readonly timeoutMs: number;
  readonly userAgent: string;
  /** TLS with a client certificate, if there is one yet; it has to trust the same CAs. */
  readonly secureContext?: SecureContext;
  readonly proxyFor: ProxyFor;
}

/** A chain of certificates is a few kilobytes. */
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_SHOWN_CHARACTERS = 200;
const WELL_KNOWN = '/.well-known/est';

/**
 * URL of an operation.
 *
 * Source: RFC 7030 §3.2.2 (a label chooses among several CAs of one server).
 *
 * @param server - as configured
 */
export function operationUrl(server: string, operation: string): string {
  const base = server.replace(/\/+$/u, '');
  return `${base}${base.includes(WELL_KNOWN) ? '' : WELL_KNOWN}/${operation}`;
}

/** What was answered, for messages. */
export interface AnswerLine {
  readonly url: string;
  readonly status: number;
}

export interface Answer extends AnswerLine {
  readonly text: string;
  readonly retryAfter: string | undefined;
}

/** A connection to the server, which is authenticated by its certificate before it is asked anything. */
export class EstConnection {
  readonly #server: EstServer;
  readonly #http: HttpClient;

  constructor(server: EstServer) {
    const ca = server.caPem ?? getCACertificates('system');
    this.#server = server;
    this.#http = new HttpClient({
      secureContext: server.secureContext ?? createSecureContext({ ca, minVersion: 'TLSv1.2' }),
      timeoutMs: server.timeoutMs,
      userAgent: server.userAgent,
      proxyFor: server.proxyFor,
    });
  }

  get(operation: string): Promise<Answer> {
    return this.#ask('GET', operation);
  }

  /** Sends a request in Base64, as who the secret says. */
  post(operation: string, der: Uint8Array): Promise<Answer> {
    return this.#ask('POST', operation, der);
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #ask(method: 'GET' | 'POST', operation: string, der?: Uint8Array): Promise<Answer> {
    const url = operationUrl(this.#server.url, operation);
    const sent = {
      body: Buffer.from(base64Lines(der ?? new Uint8Array())),
      headers: {
        'content-type': 'application/pkcs10',
        'content-transfer-encoding': 'base64',
        ...authorization(this.#server.secret),
      },
    };
    try {
      const response = await this.#http.send({ method, url, ...(der === undefined ? {} : sent) });
      const line = { url, status: response.status };
      const { 'retry-after': after } = response.headers;
      const retryAfter = typeof after === 'string' ? after : undefined;
      return { ...line, text: await readText(response, line), retryAfter };
    } catch (error) {
      throw isOtaError(error) && error.code === 'GATEWAY_TLS' ? untrusted(error) : error;
    }
  }
}

/** The client's own remedy speaks of the gateway. */
function untrusted(error: OtaError<'GATEWAY_TLS'>): OtaError<'GATEWAY_TLS'> {
  const remedy = "check provisioning.est_ca (else gateway.ca), and this device's clock";
  return new OtaError('GATEWAY_TLS', { ...error.details, remedy }, { cause: error });
}

/** @throws OtaError ENROLMENT_REFUSED */
export function certificatesOf(line: AnswerLine, text: string): Uint8Array[] {
  if (line.status !== 200) throw refused(line, text);
  try {
    const certificates = parseCertificates(Buffer.from(text, 'base64'));
    if (certificates.length > 0) return certificates;
  } catch (cause) {
    throw refused(line, `not PKCS#7 in Base64: ${causeOf(cause)}`, OTHER, cause);
  }
  throw refused(line, 'PKCS#7 without a certificate');
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

function base64Lines(der: Uint8Array): string {
  return Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/gu, '$&\n');
}

/** What the server said instead of what it was asked for. */
export function refused(
  { url, status }: AnswerLine,
  answer: string,
  remedy = REMEDIES[status] ?? OTHER,
  cause?: unknown,
): OtaError<'ENROLMENT_REFUSED'> {
  const details = { url, status, answer: answer.trim().slice(0, MAX_SHOWN_CHARACTERS), remedy };
  return new OtaError('ENROLMENT_REFUSED', details, cause === undefined ? undefined : { cause });
}
