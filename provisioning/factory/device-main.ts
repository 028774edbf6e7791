/**
 * One device of the list, in a process of its own: a Cryptoki library and its environment belong to a
 * process, and one that crashes must not end the line.
 */
import { mkdir } from 'node:fs/promises';
import { once } from 'node:events';

import { causeOf, isOtaError } from '../../agent/errors.ts';
import type { DeviceCertificate } from '../../agent/io/tls.ts';
import { takeLock } from '../../agent/io/store/lock.ts';
import { UPTANE_KEY } from '../../agent/io/token/cryptoki.ts';
import { inspectKey, type TokenKey } from '../../agent/io/token/keys.ts';
import { findNamedObjects, type FoundObjects } from '../../agent/io/token/named-objects.ts';
import { keepRefusedPins } from '../../agent/io/token/refused-pins.ts';
import { openToken, type Token } from '../../agent/io/token/token.ts';
import type { Settings } from '../../agent/settings.ts';
import type { Instant } from '../../agent/uptane/time.ts';
import { provisionCertificate } from '../enroll.ts';
import { provisionKeys } from '../keys.ts';
import type { Provisioning, ProvisioningRecord, RecordName } from '../record.ts';
import { provisionToken } from '../token.ts';
import {
  publicKeyRecord,
  uptaneKeyRecord,
  type CertificateRecord,
  type DeviceKeys,
} from './device-record.ts';

export interface DeviceJob {
  readonly settings: Settings;
  /** Whether others may know its keys already: they are then never thrown away. */
  readonly isKnown: boolean;
  readonly lockDirectory: string;
  readonly userAgent: string;
}

export type DeviceMessage =
  | { readonly said: string }
  | { readonly keys: DeviceKeys }
  | { readonly certificate: CertificateRecord }
  | { readonly failure: { readonly code: string; readonly details: object } };

const tell = (message: DeviceMessage): void => {
  process.send?.(message);
};

// A station that died must not have its work done behind its back.
process.once('disconnect', () => process.exit(1));
const [job] = (await once(process, 'message')) as [DeviceJob];
try {
  await mkdir(job.lockDirectory, { recursive: true });
  // Of each device its own: OP-TEE's tokens are all called the same.
  keepRefusedPins(job.lockDirectory);
  const lock = takeLock(job.lockDirectory);
  await work(job);
  lock.release();
} catch (error) {
  const failure = isOtaError(error)
    ? { code: error.code, details: error.details }
    : { code: 'BUG', details: { what: causeOf(error) } };
  tell({ failure });
}
process.disconnect();

async function work({ settings, isKnown, userAgent }: DeviceJob): Promise<void> {
  const all: Provisioning = {
    settings,
    record: recordOf(isKnown),
    connect: () => () => Promise.reject(new Error('a station registers nothing')),
    now: () => Date.now() as Instant,
    env: process.env,
    hostName: '',
    userAgent,
    say: (step, outcome, facts) => {
      tell({ said: `${step}: ${outcome}: ${facts}` });
    },
  };
  provisionToken(all);
  const token = openToken(settings.token, 'read-write', process.env);
  try {
    const found = findNamedObjects(token, settings.identity);
    const named = { ...all, found };
    const tls = await provisionKeys(named, token);
    tell({ keys: keysOf(token, tls, found) });
    // The station looks whether another device has them, and ends us if so.
    await once(process, 'message');
    tell({ certificate: certificateOf(await provisionCertificate(named, token, tls)) });
  } finally {
    token.close();
  }
}

function keysOf(token: Token, tls: TokenKey, found: FoundObjects): DeviceKeys {
  const uptane = inspectKey(token, found.uptane ?? UPTANE_KEY);
  if (uptane.is !== 'whole') throw new Error(`the Uptane key became ${uptane.is}`);
  const { token: label, serial, manufacturer, model } = token.name;
  return {
    token: { label, serial, manufacturer, model },
    tls: publicKeyRecord(tls.type, tls.publicKey),
    uptane: uptaneKeyRecord(uptane.key.type, uptane.key.publicKey),
  };
}

function certificateOf({ pem, fingerprint, validTo }: DeviceCertificate): CertificateRecord {
  return { sha256: fingerprint, pem, notAfter: new Date(validTo).toISOString() };
}

/** Of one run: names come from the list, and nothing here outlives the station. */
function recordOf(isKnown: boolean): ProvisioningRecord {
  const values = new Map<RecordName, string>();
  if (isKnown) values.set('ecu-registration', 'exported');
  return {
    get: (name) => Promise.resolve(values.get(name)),
    put: (name, value) => {
      values.set(name, value);
      return Promise.resolve();
    },
    hasRoot: () => Promise.resolve(false),
    pin: () => Promise.resolve(),
  };
}
