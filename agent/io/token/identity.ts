/** What provisioning left in the token, read back for a running agent. */
import type { SecureContext } from 'node:tls';

import { isOtaError, OtaError } from '../../errors.ts';
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
import { TLS_KEY, UPTANE_KEY, type ObjectName } from './cryptoki.ts';
import { listGenerations } from './generations.ts';
import { checkKeyAttributes } from './key-attributes.ts';
import { reviewKeyTypes, type WantedKeyTypes } from './key-review.ts';
import { inspectKey } from './keys.ts';
import { findNamedObjects, type FoundObjects, type NamedObjects } from './named-objects.ts';
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
  /** Which of several keys these are. */
  readonly keys: { readonly tls: ObjectName; readonly uptane: ObjectName };
  /** What a person should not overlook, on every run: keys that `identity.allow_imported` let pass. */
  readonly warnings: readonly string[];
}

/** Which key and certificate is meant where there are several: while one takes another's place. */
export interface IdentityChoice {
  readonly tls?: ObjectName;
  readonly uptane?: ObjectName;
  readonly certificate?: { readonly fingerprint: string; readonly use: 'this' | 'another' };
  /** `preferred`: a device without its favourite is better off with what works. */
  readonly is: 'preferred' | 'demanded';
}

/** The sections `token` and `identity` of the settings. */
export interface IdentitySettings extends TokenSettings, WantedKeyTypes {
  readonly tls_backend: TlsBackend;
  readonly allow_imported: boolean;
  /** Both are there if the backend is `file`. */
  readonly tls_key_file?: string | undefined;
  readonly tls_certificate_file?: string | undefined;
  readonly choice?: IdentityChoice;
  /** Keys and certificate that others have made. */
  readonly names?: NamedObjects;
}

/**
 * Reads the identity and proves that its parts belong together.
 *
 * @param trust - what has to vouch for the gateway
 * @throws OtaError NOT_PROVISIONED naming what is missing
 * @throws OtaError TOKEN_MECHANISM if the settings ask for keys that the token cannot do
 * @throws OtaError TOKEN_KEY_UNSAFE if a key was not made in the token, unless that is allowed
 * @throws OtaError CERTIFICATE_INVALID, TOKEN_MODULE, TOKEN_ABSENT, TOKEN_OBJECT, TOKEN_PIN_MISSING,
 *   TOKEN_PIN_INCORRECT, TOKEN_LOCKED, TOKEN_FAILED
 */
export function loadIdentity(
  settings: IdentitySettings,
  trust: ServerTrust,
  now: Instant,
  env: NodeJS.ProcessEnv,
): Identity {
  const { choice = { is: 'preferred' } } = settings;
  const token = openToken(settings, 'read-only', env);
  try {
    reviewKeyTypes(token, settings, settings.names);
    const found = findNamedObjects(token, settings.names ?? {});
    const { key, certificate, open } = loadTls(token, settings, found, now);
    const uptane = found.uptane ?? chooseUptaneKey(token, choice);
    const signer = openSigner(token, uptane);
    const inToken = settings.tls_backend === 'file' ? [uptane] : [key, uptane];
    const foreign = inToken.flatMap(
      (name) => checkKeyAttributes(token, name, settings.allow_imported) ?? [],
    );
    const { context, choice: tlsBackend } = open(trust);
    const warnings = tlsBackend.backend === 'file' ? [tlsBackend.reason, ...foreign] : foreign;
    return {
      deviceId: certificate.commonName,
      certificate,
      signer,
      secureContext: context,
      tlsBackend,
      trust,
      contextFor: (changed) => open(changed).context,
      token,
      keys: { tls: key, uptane },
      warnings,
    };
  } catch (error) {
    token.close();
    throw error;
  }
}

interface Tls extends Credential {
  readonly open: (trust: ServerTrust) => ChosenContext;
}

function loadTls(token: Token, settings: IdentitySettings, found: FoundObjects, now: Instant): Tls {
  const { tls_backend: backend, choice = { is: 'preferred' } } = settings;
  if (backend === 'file') return { key: TLS_KEY, ...readFileIdentity(settings, now) };
  const { key, certificate } = chooseCredential(token, found, choice, now);
  const credential = { key, certificatePem: certificate.pem };
  return {
    key,
    certificate,
    open: (trust) => createIdentityContext(token, credential, trust, backend),
  };
}

export interface Credential {
  readonly key: ObjectName;
  readonly certificate: DeviceCertificate;
}

/** The best of those that are good; if none is, what is wrong with the first. */
export function chooseCredential(
  token: Token,
  found: FoundObjects,
  choice: IdentityChoice,
  now: Instant,
): Credential {
  const problems: unknown[] = [];
  const good: Credential[] = [];
  const certificates =
    found.certificate === undefined ? readCertificates(token, found.tls) : [found.certificate];
  const pairs = tlsKeys(token, found.tls).flatMap((key) =>
    certificates.map((der) => ({ ...key, der })),
  );
  for (const { name, publicKey, der } of pairs) {
    try {
      const certificate = parseDeviceCertificate(der, `certificate "${name.label}"`);
      checkDeviceCertificate(certificate, publicKey, now);
      good.push({ key: name, certificate });
    } catch (error) {
      if (!isOtaError(error)) throw error;
      problems.push(error);
    }
  }
  const wanted = good.filter((one) => fits(one, choice));
  const [best] = choice.is === 'demanded' ? wanted : [...wanted, ...good];
  if (best !== undefined) return best;
  if (problems.length > 0) throw problems[0];
  const { label } = found.tls ?? TLS_KEY;
  const missing = `certificate "${label}" in token ${token.uri}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
}

function fits({ key, certificate }: Credential, choice: IdentityChoice): boolean {
  const { tls, certificate: wanted } = choice;
  if (tls !== undefined && tls.generation !== key.generation) return false;
  if (wanted === undefined) return true;
  return (certificate.fingerprint === wanted.fingerprint) === (wanted.use === 'this');
}

function tlsKeys(
  token: Token,
  named: ObjectName = TLS_KEY,
): { name: ObjectName; publicKey: DeviceCertificate['publicKey'] }[] {
  const names = named.generation === undefined ? listGenerations(token, named) : [named];
  const whole = names.flatMap((name) => {
    const state = inspectKey(token, name);
    return state.is === 'whole' ? [{ name, publicKey: state.key.publicKey }] : [];
  });
  if (whole.length > 0) return whole;
  // Made by other tools, private and public key may differ in CKA_ID.
  const state = inspectKey(token, named);
  if (state.is === 'whole') return [{ name: named, publicKey: state.key.publicKey }];
  const problem = state.is === 'broken' ? ` (${state.problem})` : '';
  const missing = `TLS key "${named.label}" in token ${token.uri}${problem}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
}

/** The label alone where there is no usable one: who opens it says what is wrong. */
function chooseUptaneKey(token: Token, { uptane, is }: IdentityChoice): ObjectName {
  if (uptane !== undefined && is === 'demanded') return uptane;
  const whole = listGenerations(token, UPTANE_KEY).filter(
    (name) => inspectKey(token, name).is === 'whole',
  );
  const preferred = whole.find(({ generation }) => generation === uptane?.generation);
  return preferred ?? whole[0] ?? UPTANE_KEY;
}
