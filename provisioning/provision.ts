/**
 * Makes a device ready: token → keys → certificate → roots → ECU registration.
 *
 * Every step finds out what is there before it acts, so the whole may be ended at any moment and run
 * again.
 */
import type { Settings } from '../agent/config.ts';
import { OtaError } from '../agent/errors.ts';
import { gatewayTrust, identitySettings } from '../agent/io/gateway-trust.ts';
import { loadIdentity, type Identity } from '../agent/io/token/identity.ts';
import { inspectKey, type TokenKey } from '../agent/io/token/keys.ts';
import { findNamedObjects } from '../agent/io/token/named-objects.ts';
import { openToken } from '../agent/io/token/token.ts';
import { provisionCertificate } from './enroll.ts';
import { provisionFromFiles } from './file-identity.ts';
import { provisionKeys } from './keys.ts';
import type { Provisioning, ProvisionOptions, Say } from './record.ts';
import { provisionRegistration, type RegisteredEcu } from './register.ts';
import { choiceOf, parseRecord } from './rotation-record.ts';
import { demandRootSource, provisionRoots } from './roots.ts';
import { demandSharedUse, SERVER_KEY, usesServerKey } from './shared-cred.ts';
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
  const choice = choiceOf(parseRecord(await options.record.get('rotation')));
  const all: Provisioning = { ...options, settings, say, choice };
  demandRootSource(all);
  demandSharedUse(settings);
  provisionToken(all);
  await provisionInToken(all);
  // After the token is there: its CA may be an object in it.
  const trust = await gatewayTrust(settings, options.env);
  const chosen = { ...identitySettings(settings), choice };
  const identity = loadIdentity(chosen, trust, options.now(), options.env);
  try {
    const gateway = options.connect(identity);
    const warnings = [...keyWarnings(all, identity), ...(await provisionRoots(all, gateway))];
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
    const named = { ...all, found: findNamedObjects(token, all.settings.identity) };
    const key = await provisionKeys(named, token);
    if (all.settings.token.tls_backend === 'file') await provisionFromFiles(all);
    else await provisionCertificate(named, token, key);
  } finally {
    token.close();
  }
}

/** What is known of a foreign key beyond what the token says: who made it. */
function keyWarnings({ settings }: Provisioning, { warnings }: Identity): readonly string[] {
  const isServers = warnings.length > 0 && usesServerKey(settings);
  return isServers ? [...warnings, SERVER_KEY] : warnings;
}

function uptaneKey({ token, keys }: Identity): TokenKey {
  const state = inspectKey(token, keys.uptane);
  if (state.is === 'whole') return state.key;
  throw new OtaError('BUG', { what: `the Uptane key became ${state.is}` });
}
