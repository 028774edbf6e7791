/**
 * The smallest device that can talk to the gateway: for tests of the Director itself.
 *
 * It makes its keys with node:crypto and verifies nothing.
 */
import {
  constants,
  createHash,
  generateKeyPairSync,
  randomUUID,
  sign,
  type KeyObject,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import type { SecureVersion } from 'node:tls';

import { canonicalJson, type Json, type JsonMap } from './canonical-json.ts';
import { inScratch } from './pki/authority.ts';
import { openssl } from './pki/openssl.ts';
import { keyId, publicKeyText, type KeyType } from './signing.ts';
import type { DirectorHandle } from './start.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as JSON; `null` when it is empty. */
  readonly json: unknown;
}

export interface SimulatedEcu {
  readonly serial: string;
  readonly hardwareId: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** What an ECU reports to run. */
export interface ReportedImage {
  readonly filename: string;
  readonly lengthBytes: number;
  readonly sha256: string;
}

export interface ManifestOptions {
  /** Text goes out as it is, to be wrong on purpose. */
  readonly counter: number | string;
  /** By serial; an ECU that is not there reports `unknown`. */
  readonly installed?: Readonly<Record<string, ReportedImage>>;
  readonly installationReport?: JsonMap;
  /** Last chance to spoil it: the signed payload before the Primary signs. */
  readonly edit?: (signed: JsonMap) => JsonMap;
  /** Signs instead of the Primary's key. */
  readonly signer?: SimulatedEcu;
  /** What is signed: canonical JSON of the payload, in this form. */
  readonly form?: (value: Json) => string;
}

const EMPTY_SHA256 = createHash('sha256').digest('hex');

export function createEcu(
  serial: string,
  hardwareId: string,
  keyType: KeyType = 'ed25519',
): SimulatedEcu {
  const pair =
    keyType === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { serial, hardwareId, ...pair };
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

export function registration(ecus: readonly SimulatedEcu[]): JsonMap {
  return {
    primary_ecu_serial: ecus[0]?.serial ?? '',
    ecus: ecus.map((ecu) => {
      const { keytype, keyval } = publicKeyText(ecu.publicKey);
      return {
        ecu_serial: ecu.serial,
        hardware_identifier: ecu.hardwareId,
        clientKey: { keytype, keyval: { public: keyval.public } },
      };
    }),
  };
}

/** A vehicle version manifest of these ECUs; the first is the Primary. */
export function reportedManifest(ecus: readonly SimulatedEcu[], options: ManifestOptions): JsonMap {
  const [primary] = ecus;
  if (primary === undefined) throw new Error('a device has a Primary');
  const reports = ecus.map((ecu) => [ecu.serial, versionReport(ecu, options)] as const);
  const signed: JsonMap = {
    ecu_version_manifests: Object.fromEntries(reports),
    primary_ecu_serial: primary.serial,
    ...(options.installationReport && {
      installation_report: {
        content_type: 'application/vnd.com.here.otac.installationReport.v1',
        report: options.installationReport,
      },
    }),
  };
  return signedBy(options.signer ?? primary, options.edit?.(signed) ?? signed, options.form);
}

/** An envelope as aktualizr writes it. */
export function signedBy(
  ecu: SimulatedEcu,
  signed: JsonMap,
  form: (value: Json) => string = canonicalJson,
): JsonMap {
  const payload = Buffer.from(form(signed));
  const isRsa = ecu.privateKey.asymmetricKeyType === 'rsa';
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const signature = isRsa
    ? sign('sha256', payload, { key: ecu.privateKey, padding, saltLength: 32 })
    : sign(null, payload, ecu.privateKey);
  return {
    signatures: [
      {
        keyid: keyId(publicKeyText(ecu.publicKey)),
        method: isRsa ? 'rsassa-pss' : 'ed25519',
        sig: signature.toString('base64'),
      },
    ],
    signed,
  };
}

function versionReport(ecu: SimulatedEcu, options: ManifestOptions): JsonMap {
  const { counter, installed, form } = options;
  const image = installed?.[ecu.serial];
  const report = {
    attacks_detected: '',
    ecu_serial: ecu.serial,
    installed_image: {
      filepath: image?.filename ?? 'unknown',
      fileinfo: {
        hashes: { sha256: image?.sha256 ?? EMPTY_SHA256 },
        length: image?.lengthBytes ?? 0,
      },
    },
    previous_timeserver_time: '1970-01-01T00:00:00Z',
    report_counter: String(counter),
    timeserver_time: '1970-01-01T00:00:00Z',
  };
  return signedBy(ecu, report, form);
}

/** One event as a device reports it. */
export function deviceEvent(type: string, event: JsonMap): JsonMap {
  return {
    id: randomUUID(),
    deviceTime: new Date().toISOString(),
    eventType: { id: type, version: 0 },
    event,
  };
}

function jsonOf(body: Buffer): Json {
  try {
    return JSON.parse(body.toString()) as Json;
  } catch {
    return null;
  }
}
