/** What is known of each device. The device id is the CN of its certificate. */
import type { SecretsKey } from '../gateway/encrypt.ts';
import type { JsonMap } from '../json/canonical-json.ts';
import type { ImageFile } from './image-files.ts';

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
  /** The id of the rollout that gave it; absent: an operator did. */
  readonly rollout?: string;
}

export interface Prepared {
  readonly rollout: string;
  /** The key that it is encrypted to. */
  readonly kid: string;
  readonly encryption: Encryption;
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
  /** An image that waits for it, encrypted for a rollout. */
  readonly prepared?: Prepared;
  /** What is encrypted to it; absent until it registered it. */
  readonly secretsKey?: SecretsKey;
  readonly secrets?: Secrets;
  /** What it told about itself, by path: `system_info`, `core/installed` … */
  readonly telemetry: Readonly<Record<string, JsonMap>>;
  /** The rollout whose assignment was taken away because it failed. */
  readonly lastFailure?: string;
  /** What operators call it, for filters of rollouts. */
  readonly tags?: readonly string[];
}

/** A device of which nothing is known yet. */
export function newDevice(id: string): Device {
  const firstSeenAt = new Date().toISOString();
  return { id, firstSeenAt, ecus: [], retiredSerials: [], installed: {}, telemetry: {} };
}

/** `history`: what was decided for it, and what came of it, in words. */
export type RecordKind = 'manifests' | 'events' | 'history';

const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$/u;

/** Whether a name may be certified: 1 to 64 characters that are safe in a file name and in a log. */
export function isDeviceId(id: string): boolean {
  return DEVICE_ID.test(id);
}
