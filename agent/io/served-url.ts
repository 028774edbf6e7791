/** A repository on a web server, for tools: no client certificate, no redirects, bounded like a device. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

import { causeOf, isOtaError, OtaError, type Repo } from '../errors.ts';
import { downloadOf, type TrustedTarget } from '../uptane/plan.ts';
import type { Answer } from '../uptane/verify.ts';
import { HttpClient } from './http.ts';
import { ImageDigest } from './image-file.ts';
import { limitBytes } from './limit-bytes.ts';
import { HttpRepositories } from './repositories.ts';
import type { Served } from './served-directory.ts';
import { readTextFile } from './text-file.ts';

/** A server that sends less is an attack: what `download.minimum_rate` is by default. */
const MINIMUM_BYTES_PER_SECOND = 1024;
const CA = 'CA of the server';
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu;

export interface UrlOptions {
  /** PEM file of the CAs that may vouch for the server; the system's if absent. */
  readonly caFile: string | undefined;
  /** Longest wait for a connection, an answer or the next bytes; over it the rate is measured, too. */
  readonly timeoutMs: number;
  readonly userAgent: string;
}

export class ServedUrl implements Served {
  readonly #repo: Repo;
  readonly #url: string;
  readonly #http: HttpClient;
  readonly #repositories: HttpRepositories;

  private constructor(repo: Repo, url: string, http: HttpClient, windowMs: number) {
    this.#repo = repo;
    this.#url = url.replace(/\/+$/u, '');
    this.#http = http;
    const urls = { director: this.#url, image: this.#url, events: undefined };
    const rate = { bytesPerSecond: MINIMUM_BYTES_PER_SECOND, windowMs };
    this.#repositories = new HttpRepositories(http, urls, rate);
  }

  /** Connects to nothing yet. @throws OtaError FILE_UNREADABLE about the CA */
  static async open(repo: Repo, url: string, options: UrlOptions): Promise<ServedUrl> {
    const { caFile, timeoutMs, userAgent } = options;
    const secureContext = await contextFor(caFile);
    const http = new HttpClient({ secureContext, timeoutMs, userAgent, plainHttp: true });
    return new ServedUrl(repo, url, http, timeoutMs);
  }

  async fetchMetadata(file: string, maxBytes: number): Promise<Answer> {
    try {
      return await this.#repositories.fetchMetadata(this.#repo, file, maxBytes);
    } catch (error) {
      throw forOperators(error);
    }
  }

  /** Streams what a device would download through the hashes; nothing is stored. */
  async verifyImage(target: TrustedTarget): Promise<boolean> {
    const wanted = downloadOf(target);
    const { filename, lengthBytes } = wanted;
    const digest = new ImageDigest(wanted);
    const body = this.#repositories.openImage(target, 0);
    for await (const chunk of limitBytes(body, lengthBytes, filename)) digest.update(chunk);
    digest.verify();
    return true;
  }

  where(file: string): string {
    return `${this.#url}/${file}`;
  }

  close(): Promise<void> {
    return this.#http.close();
  }
}

async function contextFor(caFile: string | undefined): Promise<SecureContext> {
  if (caFile === undefined) {
    return createSecureContext({ ca: getCACertificates('system'), minVersion: 'TLSv1.2' });
  }
  const remedy = 'name a PEM file with --ca';
  const ca = (await readTextFile(caFile, CA, remedy)).match(PEM_CERTIFICATE) ?? [];
  try {
    if (ca.length === 0) throw new Error('it holds no certificate in PEM');
    for (const pem of ca) new X509Certificate(pem);
  } catch (cause) {
    const details = { path: caFile, what: CA, cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
  return createSecureContext({ ca, minVersion: 'TLSv1.2' });
}

/** The client's own remedies speak of a device and its gateway. */
function forOperators(error: unknown): unknown {
  if (!isOtaError(error)) return error;
  if (error.code === 'GATEWAY_TLS') {
    const remedy = "name the server's CA with --ca FILE; check its names, its dates and your clock";
    return new OtaError('GATEWAY_TLS', { ...error.details, remedy }, { cause: error });
  }
  if (error.code === 'GATEWAY_UNREACHABLE') {
    const remedy = 'check the URL, the network, and that a server listens there';
    return new OtaError('GATEWAY_UNREACHABLE', { ...error.details, remedy }, { cause: error });
  }
  return error;
}
