/** What provisioning left in the token, read back for a running agent. */
import type { SecureContext } from 'node:tls';

import { OtaError } from '../../errors.ts';
import type { Signer } from '../../ports.ts';
import type { Instant } from '../../uptane/time.ts';
import {
  checkDeviceCertificate,
  createIdentityContext,
  parseDeviceCertificate,
  type DeviceCertificate,
  type TlsBackend,
} from '../tls.ts';
import { readCertificates } from './certificate.ts';
import { withChain } from './chain.ts';
import { TLS_KEY } from './cryptoki.ts';
import { inspectKey, type TokenKey } from './keys.ts';
import { PROVISION } from './token-errors.ts';
import { openToken, type Token, type TokenSettings } from './token.ts';
import { openSigner } from './uptane-key.ts';

export interface Identity {
  /** Common name of the certificate: what the gateway calls this device. */
  readonly deviceId: string;
  readonly certificate: DeviceCertificate;
  readonly signer: Signer;
  readonly secureContext: SecureContext;
  readonly token: Token;
}

export interface IdentitySettings extends TokenSettings {
  readonly tls_backend: TlsBackend;
}

/**
 * Reads the identity and proves that its parts belong together.
 *
 * @param caPem - CAs of the gateway, PEM; the system's roots if absent
 * @throws OtaError NOT_PROVISIONED naming what is missing
 * @throws OtaError CERTIFICATE_INVALID, TOKEN_MODULE, TOKEN_ABSENT, TOKEN_OBJECT, TOKEN_PIN_MISSING,
 *   TOKEN_PIN_INCORRECT, TOKEN_LOCKED, TOKEN_FAILED
 */
export function loadIdentity(
  settings: IdentitySettings,
  caPem: string | undefined,
  now: Instant,
  env: NodeJS.ProcessEnv,
): Identity {
  const token = openToken(settings, 'read-only', env);
  try {
    const certificate = chooseCertificate(token, tlsKey(token), now);
    const { tls_backend: backend } = settings;
    return {
      deviceId: certificate.commonName,
      certificate,
      signer: openSigner(token),
      secureContext: createIdentityContext(
        token,
        withChain(token, certificate.pem),
        caPem,
        backend,
      ),
      token,
    };
  } catch (error) {
    token.close();
    throw error;
  }
}

function tlsKey(token: Token): TokenKey {
  const state = inspectKey(token, TLS_KEY);
  if (state.is === 'whole') return state.key;
  const problem = state.is === 'broken' ? ` (${state.problem})` : '';
  const missing = `TLS key "${TLS_KEY.label}" in token ${token.uri}${problem}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
}

/** The first one that is good; if none is, what is wrong with the first. */
function chooseCertificate(token: Token, key: TokenKey, now: Instant): DeviceCertificate {
  const problems: unknown[] = [];
  for (const der of readCertificates(token)) {
    try {
      const certificate = parseDeviceCertificate(der, `certificate "${TLS_KEY.label}"`);
      checkDeviceCertificate(certificate, key.publicKey, now);
      return certificate;
    } catch (error) {
      problems.push(error);
    }
  }
  if (problems.length > 0) throw problems[0];
  const missing = `certificate "${TLS_KEY.label}" in token ${token.uri}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
}
