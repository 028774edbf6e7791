/** Which way TLS reaches the private key: chosen once per start, with the reason for people. */
import type { SecureContext } from 'node:tls';

import { isOtaError, OtaError } from '../errors.ts';
import type { ObjectName } from './token/cryptoki.ts';

/** Where TLS takes the private key from. `file` is no token at all: for development and migration. */
export type TlsBackend = 'auto' | 'engine' | 'provider' | 'file';

export interface BackendChoice {
  readonly backend: Exclude<TlsBackend, 'auto'>;
  /** One sentence for people. */
  readonly reason: string;
}

/** A key of the token and the certificate that goes with it. */
export interface TlsCredential {
  readonly key: ObjectName;
  readonly certificatePem: string;
}

export interface ChosenContext {
  readonly context: SecureContext;
  readonly choice: BackendChoice;
}

/** Each makes a context or throws an `OtaError` that says why it cannot. */
export interface Backends {
  readonly engine: () => SecureContext;
  readonly provider: () => SecureContext;
}

/**
 * The engine if it works, else the provider, else both reasons.
 *
 * The engine comes first because it shares the agent's login; the provider is what is left where
 * OpenSSL has no engines any more.
 *
 * @throws OtaError as the engine did, with what kept the provider from taking its place
 */
export function chooseInToken(
  wanted: 'auto' | 'engine' | 'provider',
  backends: Backends,
): ChosenContext {
  if (wanted !== 'auto') {
    return { context: backends[wanted](), choice: { backend: wanted, reason: 'configured' } };
  }
  try {
    const reason = 'auto: it works, and shares the login of the agent';
    return { context: backends.engine(), choice: { backend: 'engine', reason } };
  } catch (error) {
    if (!isOtaError(error)) throw error;
    const without = `auto: the engine does not work (${problemOf(error)})`;
    try {
      return { context: backends.provider(), choice: { backend: 'provider', reason: without } };
    } catch (second) {
      throw isOtaError(second) ? neither(error, second) : second;
    }
  }
}

function neither(engine: OtaError, provider: OtaError): OtaError {
  const tried = `engine: ${problemOf(engine)}; provider: ${problemOf(provider)}`;
  const cause = { cause: engine };
  if (isOtaError(engine) && engine.code === 'TOKEN_MODULE') {
    return new OtaError('TOKEN_MODULE', { ...engine.details, cause: tried }, cause);
  }
  if (isOtaError(engine) && engine.code === 'TOKEN_OBJECT') {
    return new OtaError('TOKEN_OBJECT', { ...engine.details, problem: tried }, cause);
  }
  return engine;
}

function problemOf({ details }: OtaError): string {
  if ('cause' in details) return details.cause;
  return 'problem' in details ? details.problem : JSON.stringify(details);
}
