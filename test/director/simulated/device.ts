/**
 * The smallest device that can talk to the gateway: for tests of the Director itself.
 *
 * It makes its keys with node:crypto and verifies nothing.
 */
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import type { SecureVersion } from 'node:tls';

import { canonicalJson, type Json, type JsonMap } from '../json/canonical-json.ts';
import { inScratch } from '../pki/authority.ts';
import { openssl } from '../pki/openssl.ts';
import type { DirectorHandle } from '../start.ts';
import {
  createEcu,
  registration,
  reportedManifest,
  type ManifestOptions,
  type SimulatedEcu,
} from './ecus.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as JSON; `null` when it is empty. */
  readonly json: unknown;
}

/** A P-256 key in PEM and a certificate request for it, as openssl writes them. */
export async function createRequest(id: string): Promise<{ key: string; csr: string }> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return inScratch(async (cwd) => {
    await writeFile(join(cwd, 'key.pem'), key);
    const args = ['req', '-new', '-key', 'key.pem', '-subj', `/CN=${id}`];
    const csr = await openssl(args, { cwd });
    return { key, csr: csr.toString() };
  });
}

export class SimulatedDevice {
  readonly id: string;
  readonly ecus: readonly SimulatedEcu[];
  readonly key: string;
  readonly certificate: string;
  readonly #gatewayUrl: string;
  readonly #agent: Agent;

  private constructor(
    director: DirectorHandle,
    id: string,
    ecus: readonly SimulatedEcu[],
    tls: { readonly key: string; readonly cert: string; readonly maxVersion?: SecureVersion },
  ) {
    this.id = id;
    this.ecus = ecus;
    this.key = tls.key;
    this.certificate = tls.cert;
    this.#gatewayUrl = director.gatewayUrl;
    this.#agent = new Agent({
      ...tls,
      ca: readFileSync(director.caPath),
      keepAlive: true,
      maxSockets: 1,
    });
  }

  /** A device with a certificate of the Director's CA. */
  static async create(
    director: DirectorHandle,
    id: string,
    ecus: readonly SimulatedEcu[] = [createEcu('primary-1', 'primary-hw')],
  ): Promise<SimulatedDevice> {
    const { key, csr } = await createRequest(id);
    const { pem } = await director.certify(csr);
    return new SimulatedDevice(director, id, ecus, { key, cert: pem });
  }

  /** The same device on a new connection, perhaps to another run of the Director. */
  reconnect(director: DirectorHandle, maxVersion?: SecureVersion): SimulatedDevice {
    const tls = { key: this.key, cert: this.certificate, ...(maxVersion && { maxVersion }) };
    return new SimulatedDevice(director, this.id, this.ecus, tls);
  }

  async call(
    method: string,
    path: string,
    options: {
      readonly body?: Uint8Array | string;
      readonly headers?: Record<string, string>;
    } = {},
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const url = `${this.#gatewayUrl}${path}`;
      const headers = { 'content-type': 'application/json', ...options.headers };
      const sent = request(url, { method, headers, agent: this.#agent }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const body = Buffer.concat(chunks);
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            body,
            json: jsonOf(body),
          });
        });
      });
      sent.on('error', reject);
      sent.end(options.body);
    });
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.call('GET', path, { headers });
  }

  async register(ecus: readonly SimulatedEcu[] = this.ecus): Promise<Answer> {
    return this.call('POST', '/director/ecus', { body: canonicalJson(registration(ecus)) });
  }

  async sendManifest(options: ManifestOptions): Promise<Answer> {
    return this.call('PUT', '/director/manifest', { body: canonicalJson(this.manifest(options)) });
  }

  manifest(options: ManifestOptions): JsonMap {
    return reportedManifest(this.ecus, options);
  }

  close(): void {
    this.#agent.destroy();
  }
}

function jsonOf(body: Buffer): Json {
  try {
    return JSON.parse(body.toString()) as Json;
  } catch {
    return null;
  }
}
