/** What provisioning has to remember outside the token, and what it needs from the outside. */
import { randomUUID } from 'node:crypto';

import type { Repo } from '../agent/errors.ts';
import type { Settings } from '../agent/config.ts';
import type { Identity, IdentityChoice } from '../agent/io/token/identity.ts';
import type { ObjectName } from '../agent/io/token/cryptoki.ts';
import type { FoundObjects } from '../agent/io/token/named-objects.ts';
import type { Instant } from '../agent/uptane/time.ts';

export type RecordName =
  | 'device-id'
  | 'ecu-serial'
  | 'hardware-id'
  | 'ecu-registration'
  | 'rotation'
  | 'shared-credential'
  | 'director-trust'
  | 'image-trust';

/** A resolved promise means that it is on disk. */
export interface ProvisioningRecord {
  get(name: RecordName): Promise<string | undefined>;
  put(name: RecordName, value: string): Promise<void>;
  hasRoot(repo: Repo): Promise<boolean>;
  /** Makes metadata the start of trust, all of it at once: by role, `root` among them. */
  pin(repo: Repo, files: ReadonlyMap<string, Uint8Array>): Promise<void>;
}

export interface GatewayAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

/**
 * One request as this device, over mutual TLS.
 *
 * @param path - below the gateway's base: `/director/…` or `/repo/…`
 */
export type GatewayRequest = (
  method: 'GET' | 'POST',
  path: string,
  body?: Uint8Array,
) => Promise<GatewayAnswer>;

type StepName = 'token' | 'keys' | 'certificate' | 'roots' | 'registration';
export type Outcome = 'done now' | 'found done' | 'noted';

/** Told after every step; `facts` are for people and hold no secret. */
export type Say = (step: StepName, outcome: Outcome, facts: string) => void;

export interface ProvisionOptions {
  readonly record: ProvisioningRecord;
  /** Opens the way to the gateway with the identity that the steps before have made. */
  readonly connect: (identity: Identity) => GatewayRequest;
  readonly now: () => Instant;
  readonly env: NodeJS.ProcessEnv;
  readonly hostName: string;
  readonly userAgent: string;
}

/** What the steps share. */
export interface Provisioning extends ProvisionOptions {
  readonly settings: Settings;
  /** What is in use while a rotation is under way: all other keys and certificates are left alone. */
  readonly choice?: IdentityChoice;
  readonly say: Say;
  /** Keys and certificate that others have made; known once the token is open. */
  readonly found?: FoundObjects;
}

/** The recorded value, or one that is derived now and recorded before anybody uses it. */
export async function fixed(
  record: ProvisioningRecord,
  name: RecordName,
  derive: () => string,
): Promise<string> {
  const present = await record.get(name);
  if (present !== undefined) return present;
  const value = derive();
  await record.put(name, value);
  return value;
}

/** What the gateway will call this device: as configured, or made up once. */
export async function deviceId({ settings, record }: Provisioning): Promise<string> {
  return settings.device.id ?? fixed(record, 'device-id', randomUUID);
}

/** The TLS key that is meant, where it is not simply ours. */
export function tlsName({ found, choice }: Provisioning): ObjectName | undefined {
  return found?.tls ?? choice?.tls;
}
