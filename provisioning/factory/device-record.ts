/** What a station knows of each device: one JSON file, replaced whole after every step. */
import { createHash, type JsonWebKey, type KeyObject } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { causeOf, OtaError } from '../../agent/errors.ts';
import { replaceFile } from '../../agent/io/durable-file.ts';
import { clientKey, keyIdOf, type ClientKey } from '../../agent/io/token/uptane-key.ts';

/** A public key in every form that somebody asks for. */
export interface PublicKeyRecord {
  readonly type: string;
  readonly pem: string;
  readonly jwk: JsonWebKey;
  /** Of SPKI in DER, hex: what ota-tuf calls a key id. */
  readonly sha256: string;
}

export interface UptaneKeyRecord extends PublicKeyRecord {
  /** As an ECU registration has it. */
  readonly clientKey: ClientKey;
  /** As this agent and aktualizr name it in signatures. */
  readonly keyId: string;
}

export interface DeviceKeys {
  readonly token: {
    readonly label: string;
    readonly serial: string;
    readonly manufacturer: string;
    readonly model: string;
  };
  readonly tls: PublicKeyRecord;
  readonly uptane: UptaneKeyRecord;
}

export interface CertificateRecord {
  /** Of DER, hex. */
  readonly sha256: string;
  readonly pem: string;
  readonly notAfter: string;
}

export interface DeviceRecord {
  readonly version: 1;
  readonly deviceId: string;
  readonly ecuSerial: string;
  readonly hardwareId: string | null;
  /** `begun`: something may be in the token; `waiting`: for the certificate of its request. */
  readonly outcome: 'begun' | 'waiting' | 'failed' | 'done';
  readonly station: string;
  readonly at: string;
  readonly keys?: DeviceKeys;
  readonly certificate?: CertificateRecord;
  readonly failure?: { readonly code: string; readonly details: object };
}

/** The records of a station, in memory as on disk. */
export class DeviceRecords {
  readonly directory: string;
  readonly #records: Map<string, DeviceRecord>;

  private constructor(directory: string, records: Map<string, DeviceRecord>) {
    this.directory = directory;
    this.#records = records;
  }

  /**
   * @param directory - made if it is not there
   * @throws OtaError STORAGE_CORRUPT, STORAGE_FAILED
   */
  static async open(directory: string): Promise<DeviceRecords> {
    const folder = join(directory, FOLDER);
    try {
      for (const path of [folder, join(directory, CSR_FOLDER), join(directory, ANSWER_FOLDER)]) {
        await mkdir(path, { recursive: true });
      }
      const names = (await readdir(folder)).filter((name) => name.endsWith('.json'));
      const records = await Promise.all(names.map((name) => readRecord(join(folder, name))));
      return new DeviceRecords(directory, new Map(records.map((one) => [one.deviceId, one])));
    } catch (cause) {
      if (cause instanceof OtaError) throw cause;
      const remedy = 'name a directory of yours with --records';
      const details = { path: directory, cause: causeOf(cause), remedy };
      throw new OtaError('STORAGE_FAILED', details, { cause });
    }
  }

  get all(): readonly DeviceRecord[] {
    return [...this.#records.values()].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
  }

  find(deviceId: string): DeviceRecord | undefined {
    return this.#records.get(deviceId);
  }

  /** On disk when it resolves. */
  async put(record: DeviceRecord): Promise<void> {
    const path = join(this.directory, FOLDER, `${record.deviceId}.json`);
    await replaceFile(path, `${JSON.stringify(record, undefined, 2)}\n`, 0o644);
    this.#records.set(record.deviceId, record);
  }

  /**
   * Refuses keys that another device has, because then the two have one token.
   *
   * Serial numbers do not tell tokens apart: those of OP-TEE are the same on every device.
   *
   * @throws OtaError FACTORY_DUPLICATE
   */
  demandUnique(deviceId: string, { tls, uptane }: DeviceKeys): void {
    const other = this.all.find(
      (one) =>
        one.deviceId !== deviceId &&
        (one.keys?.tls.sha256 === tls.sha256 || one.keys?.uptane.sha256 === uptane.sha256),
    );
    if (other === undefined) return;
    throw new OtaError('FACTORY_DUPLICATE', {
      device: deviceId,
      other: other.deviceId,
      what: 'token, by its keys',
      remedy: 'connect the token of this device; the other one keeps what it has',
    });
  }

  /** Writes what a Director or a ceremony imports: every device whose keys are made. */
  async exportKeys(): Promise<string> {
    const path = join(this.directory, 'public-keys.json');
    const entries = this.all.flatMap(({ deviceId, ecuSerial, hardwareId, keys, certificate }) =>
      keys === undefined
        ? []
        : [
            {
              ...{ deviceId, ecuSerial, hardwareId, uptane: keys.uptane, tls: keys.tls },
              certificateSha256: certificate?.sha256 ?? null,
            },
          ],
    );
    await replaceFile(path, `${JSON.stringify(entries, undefined, 2)}\n`, 0o644);
    return path;
  }

  csrPath(deviceId: string): string {
    return join(this.directory, CSR_FOLDER, `${deviceId}.csr`);
  }

  answerPath(deviceId: string): string {
    return join(this.directory, ANSWER_FOLDER, `${deviceId}.pem`);
  }
}

const FOLDER = 'devices';
const CSR_FOLDER = 'requests';
const ANSWER_FOLDER = 'certificates';

/** The forms of a public key. */
export function publicKeyRecord(type: string, key: KeyObject): PublicKeyRecord {
  const der = key.export({ type: 'spki', format: 'der' });
  return {
    type,
    pem: key.export({ type: 'spki', format: 'pem' }).toString(),
    jwk: key.export({ format: 'jwk' }),
    sha256: createHash('sha256').update(der).digest('hex'),
  };
}

export function uptaneKeyRecord(type: string, key: KeyObject): UptaneKeyRecord {
  const client = clientKey(key);
  return { ...publicKeyRecord(type, key), clientKey: client, keyId: keyIdOf(client) };
}

async function readRecord(path: string): Promise<DeviceRecord> {
  const text = await readFile(path, 'utf8');
  let problem = 'it is no record of a device';
  try {
    const record = JSON.parse(text) as Partial<DeviceRecord>;
    const isRecord = record.version === 1 && path.endsWith(`/${record.deviceId ?? ''}.json`);
    if (isRecord) return record as DeviceRecord;
  } catch (cause) {
    problem = causeOf(cause);
  }
  const remedy = 'restore the file, or remove it: the device is then looked at anew';
  throw new OtaError('STORAGE_CORRUPT', { path, cause: problem, remedy });
}
