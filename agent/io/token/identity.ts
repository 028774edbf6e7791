/** What provisioning left in the token, read back for a running agent. */
import type { SecureContext } from 'node:tls';

import { OtaError } from '../../errors.ts';
import type { Signer } from '../../ports.ts';
import type { Instant } from '../../uptane/time.ts';
import type { BackendChoice, ChosenContext, TlsBackend } from '../tls-backends.ts';
import { readFileIdentity } from '../tls-file.ts';
import {
  checkDeviceCertificate,
  createIdentityContext,
  parseDeviceCertificate,
  type DeviceCertificate,
  type ServerTrust,
} from '../tls.ts';
import { readCertificates } from './certificate.ts';
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
  /** How TLS reaches the key, and why. */
  readonly tlsBackend: BackendChoice;
  /** What has to vouch for the gateway, as it was at the start. */
  readonly trust: ServerTrust;
  /** Another context for the same key, for when the lists of revoked certificates have changed. */
  readonly contextFor: (trust: ServerTrust) => SecureContext;
  readonly token: Token;
}

export interface IdentitySettings extends TokenSettings {
  readonly tls_backend: TlsBackend;
  /** Both are there if the backend is `file`. */
  readonly tls_key_file?: string | undefined;
  readonly tls_certificate_file?: string | undefined;
}

/**
 * Reads the identity and proves that its parts belong together.
 *
 * @param trust - what has to vouch for the gateway
 * @throws OtaError NOT_PROVISIONED naming what is missing
 * @throws OtaError CERTIFICATE_INVALID, TOKEN_MODULE, TOKEN_ABSENT, TOKEN_OBJECT, TOKEN_PIN_MISSING,
 *   TOKEN_PIN_INCORRECT, TOKEN_LOCKED, TOKEN_FAILED
 */
export function loadIdentity(
  settings: IdentitySettings,
  trust: ServerTrust,
  now: Instant,
  env: NodeJS.ProcessEnv,
): Identity {
  const token = openToken(settings, 'read-only', env);
  try {
    const { certificate, open } = loadTls(token, settings, now);
    const signer = openSigner(token);
    const { context, choice } = open(trust);
    return {
      deviceId: certificate.commonName,
      certificate,
      signer,
      secureContext: context,
      tlsBackend: choice,
      trust,
      contextFor: (changed) => open(changed).context,
      token,
    };
  } catch (error) {
    token.close();
    throw error;
  }
}

interface Tls {
  readonly certificate: DeviceCertificate;
  readonly open: (trust: ServerTrust) => ChosenContext;
}

function loadTls(token: Token, settings: IdentitySettings, now: Instant): Tls {
  const { tls_backend: backend } = settings;
  if (backend === 'file') return readFileIdentity(settings, now);
  const certificate = chooseCertificate(token, tlsKey(token), now);
  return {
    certificate,
    open: (trust) => createIdentityContext(token, certificate.pem, trust, backend),
  };
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
