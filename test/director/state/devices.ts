/**
 * What is known of each device: `devices/ID/device.json`, and numbered records beside it.
 *
 * The device id is the CN of its certificate. Only names that are also safe file names are ever
 * certified, so the id is the directory's name.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { SecretsKey } from '../gateway/encrypt.ts';
import type { JsonMap } from '../json/canonical-json.ts';
import type { ImageFile } from './image-files.ts';
import { makeDirectory, readState, writeState } from './state-file.ts';

export interface RegisteredEcu {
  readonly serial: string;
  readonly hardwareId: string;
  readonly keyType: 'ED25519' | 'RSA';
  /** As registered: hex, or SPKI in PEM. */
  readonly publicKey: string;
}

export interface FormerKey {
  readonly serial: string;
  readonly publicKey: string;
  readonly replacedAt: string;
}

/** What an ECU last reported to run. */
export interface InstalledImage {
  readonly filename: string;
  readonly lengthBytes: number;
  readonly hashes: JsonMap;
}

/** An image as it was encrypted for one device, and the wrapped key. */
export interface Encryption extends ImageFile {
  readonly chunkBytes: number;
  /** Compact JWE. */
  readonly key: string;
}

export interface AssignedTarget {
  readonly filename: string;
  readonly lengthBytes: number;
  readonly sha256: string;
  /** Absent for a commit. */
  readonly sha512?: string;
  readonly format: string;
  readonly releaseCounter?: number;
  /** Absent where the device downloads the image as it is. */
  readonly encryption?: Encryption;
  /** Serial to hardware id. */
  readonly ecus: Readonly<Record<string, string>>;
}

export interface Assignment {
  readonly correlationId: string;
  readonly createdAt: string;
  readonly targets: readonly AssignedTarget[];
  /** `done` once every ECU reported its image; `failed` by the last report; else `pending`. */
  readonly outcome: 'pending' | 'done' | 'failed';
  /** The last installation report that named this correlation id. */
  readonly report?: JsonMap;
}

/** Values in Base64, by name. The version counts changes. */
export interface Secrets {
  readonly version: number;
  readonly values: Readonly<Record<string, string>>;
}

export interface Device {
  readonly id: string;
  readonly firstSeenAt: string;
  readonly lastManifestAt?: string;
  readonly primary?: string;
  readonly ecus: readonly RegisteredEcu[];
  /** Keys that spoke for an ECU before, the latest last. */
  readonly formerKeys?: readonly FormerKey[];
  /** Serials that were replaced: they never come back. */
  readonly retiredSerials: readonly string[];
  /** Highest report counter accepted from the Primary; absent before the first. */
  readonly reportCounter?: number;
  readonly installed: Readonly<Record<string, InstalledImage>>;
  readonly assignment?: Assignment;
  /** What is encrypted to it; absent until it registered it. */
  readonly secretsKey?: SecretsKey;
  readonly secrets?: Secrets;
  /** What it told about itself, by path: `system_info`, `core/installed` … */
  readonly telemetry: Readonly<Record<string, JsonMap>>;
}

export const RECORD_KINDS = ['manifests', 'events'] as const;
export type RecordKind = (typeof RECORD_KINDS)[number];

/** A device that polls every second for half an hour fills this. */
const MAX_RECORDS = 2000;
const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$/u;

/** Whether a name may be certified: 1 to 64 characters that are safe in a file name and in a log. */
export function isDeviceId(id: string): boolean {
  return DEVICE_ID.test(id);
}

export class DeviceStore {
  readonly #directory: string;
  readonly #devices = new Map<string, Device>();
  readonly #lastRecord = new Map<string, number>();

  constructor(directory: string) {
    this.#directory = directory;
    makeDirectory(directory);
    for (const id of readdirSync(directory)) {
      const device = readState(join(directory, id, 'device.json'));
      if (device !== undefined) this.#devices.set(id, device as Device);
    }
  }

  list(): readonly Device[] {
    return [...this.#devices.values()];
  }

  find(id: string): Device | undefined {
    return this.#devices.get(id);
  }

  /** The device, known from now on. `id` must be a device id. */
  meet(id: string): Device {
    const known = this.#devices.get(id);
    if (known !== undefined) return known;
    const device: Device = {
      id,
      firstSeenAt: new Date().toISOString(),
      ecus: [],
      retiredSerials: [],
      installed: {},
      telemetry: {},
    };
    this.save(device);
    return device;
  }

  save(device: Device): void {
    const directory = this.directoryOf(device.id);
    for (const kind of RECORD_KINDS) makeDirectory(join(directory, kind));
    writeState(join(directory, 'device.json'), device);
    this.#devices.set(device.id, device);
  }

  directoryOf(id: string): string {
    return join(this.#directory, id);
  }

  /** Keeps one more manifest or batch of events; the oldest go when there are too many. */
  addRecord(id: string, kind: RecordKind, record: object): void {
    const directory = join(this.directoryOf(id), kind);
    makeDirectory(directory);
    const key = `${id}/${kind}`;
    const number = (this.#lastRecord.get(key) ?? lastOf(recordNumbers(directory))) + 1;
    writeState(join(directory, fileName(number)), record);
    this.#lastRecord.set(key, number);
    if (number > MAX_RECORDS)
      rmSync(join(directory, fileName(number - MAX_RECORDS)), { force: true });
  }

  /** Oldest first, as they were given to `addRecord`. */
  records(id: string, kind: RecordKind): readonly unknown[] {
    const directory = join(this.directoryOf(id), kind);
    makeDirectory(directory);
    return recordNumbers(directory).map((number) => readState(join(directory, fileName(number))));
  }
}

function recordNumbers(directory: string): readonly number[] {
  return readdirSync(directory)
    .filter((name) => /^\d{9}\.json$/u.test(name))
    .map((name) => Number(name.slice(0, 9)))
    .sort((a, b) => a - b);
}

function lastOf(numbers: readonly number[]): number {
  return numbers.at(-1) ?? 0;
}

function fileName(number: number): string {
  return `${String(number).padStart(9, '0')}.json`;
}
