/** From the settings: what has to vouch for the gateway, and where our identity is. */
import type { Clock } from '../ports.ts';
import { readAuthorities } from './authorities.ts';
import type { Settings } from '../settings.ts';
import { readCrls } from './crl-files.ts';
import type { ServerPolicy } from './tls-policy.ts';
import { verifyChainAt } from './tls-other-time.ts';
import type { ServerTrust } from './tls.ts';
import type { IdentitySettings } from './token/identity.ts';

/** @throws OtaError FILE_UNREADABLE about the CA or a list of revoked certificates */
export async function gatewayTrust(
  { gateway, token }: Settings,
  env: NodeJS.ProcessEnv,
): Promise<ServerTrust> {
  return {
    caPem: await readAuthorities('gateway.ca', gateway.ca, token, env),
    minVersion: gateway.tls_min === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
    crls: readCrls(gateway.crl),
    pins: gateway.pins,
    verifyStaple: gateway.ocsp === 'off' ? undefined : (await import('./ocsp.ts')).verifyStaple,
  };
}

/** What the gateway has to prove, by the best known time. */
export function gatewayPolicy(trust: ServerTrust, { now }: Pick<Clock, 'now'>): ServerPolicy {
  const { pins = [], verifyStaple } = trust;
  return {
    pins,
    verifyStaple,
    now,
    verifyChain: (chain, host) => verifyChainAt(chain, host, trust, now()),
  };
}

export function identitySettings({ token, identity }: Settings): IdentitySettings {
  return { ...token, ...identity, names: identity };
}
