/**
 * Makes a device ready: token → keys → certificate → roots → ECU registration.
 *
 * Every step finds out what is there before it acts, so the whole may be ended at any moment and run
 * again.
 */
import type { Settings } from '../agent/config.ts';
import { OtaError } from '../agent/errors.ts';
import { readTextFile } from '../agent/io/text-file.ts';
import { TLS_KEY, UPTANE_KEY } from '../agent/io/token/cryptoki.ts';
import { loadIdentity, type Identity } from '../agent/io/token/identity.ts';
import { isImported } from '../agent/io/token/key-attributes.ts';
import { inspectKey, type TokenKey } from '../agent/io/token/keys.ts';
import { openToken } from '../agent/io/token/token.ts';
import { provisionCertificate } from './enroll.ts';
import { provisionKeys } from './keys.ts';
import type { Provisioning, ProvisionOptions, Say } from './record.ts';
import { provisionRegistration, type RegisteredEcu } from './register.ts';
import { demandRootSource, provisionRoots } from './roots.ts';
import { demandSharedUse, IMPORTED_KEY } from './shared-cred.ts';
import { provisionToken } from './token.ts';

export interface Provisioned {
  readonly deviceId: string;
  readonly ecu: RegisteredEcu;
  /** What a person should not overlook, on every run; empty where trust began as it should. */
  readonly warnings: readonly string[];
}

/**
 * Provisions this device, or completes it, or finds everything done.
 *
 * @throws OtaError NOT_PROVISIONED where a person has to act first: a certificate request to be signed
 * @throws OtaError of the step that failed; what the steps before have done stays done
 */
export async function provision(
  settings: Settings,
  options: ProvisionOptions,
  say: Say,
): Promise<Provisioned> {
  const all: Provisioning = { ...options, settings, say };
  demandRootSource(all);
  demandSharedUse(settings);
  const caPem = await gatewayCa(settings);
  provisionToken(all);
  await provisionInToken(all);
  const identity = loadIdentity(settings.token, caPem, options.now(), options.env);
  try {
    const gateway = options.connect(identity);
    const warnings = [...keyWarnings(identity), ...(await provisionRoots(all, gateway))];
    const { deviceId } = identity;
    const ecu = await provisionRegistration(all, deviceId, uptaneKey(identity), gateway);
    return { deviceId, ecu, warnings };
  } finally {
    identity.token.close();
  }
}

async function provisionInToken(all: Provisioning): Promise<void> {
  const token = openToken(all.settings.token, 'read-write', all.env);
  try {
    const key = await provisionKeys(all, token);
    await provisionCertificate(all, token, key);
  } finally {
    token.close();
  }
}

function keyWarnings({ token }: Identity): readonly string[] {
  return isImported(token, TLS_KEY) ? [IMPORTED_KEY] : [];
}

function uptaneKey({ token }: Identity): TokenKey {
  const state = inspectKey(token, UPTANE_KEY);
  if (state.is === 'whole') return state.key;
  throw new OtaError('BUG', { what: `the Uptane key became ${state.is}` });
}

async function gatewayCa({ gateway }: Settings): Promise<string | undefined> {
  if (gateway.ca === undefined) return undefined;
  return readTextFile(gateway.ca, 'CA of the gateway', 'check gateway.ca');
}
