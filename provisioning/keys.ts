/** Step 2: one key pair for TLS and one for Uptane, made in the token. */
import { constants, randomBytes, verify } from 'node:crypto';

import { isOtaError, OtaError } from '../agent/errors.ts';
import { readCertificates } from '../agent/io/token/certificate.ts';
import { TLS_KEY, UPTANE_KEY, type ObjectName } from '../agent/io/token/cryptoki.ts';
import { listGenerations } from '../agent/io/token/generations.ts';
import { importKey } from '../agent/io/token/import-key.ts';
import { checkKeyAttributes, isImported } from '../agent/io/token/key-attributes.ts';
import { reviewKeyTypes } from '../agent/io/token/key-review.ts';
import { KEY_TYPES, type KeyType, type Scheme } from '../agent/io/token/key-types.ts';
import { destroyKey, generateKey, inspectKey, type TokenKey } from '../agent/io/token/keys.ts';
import { signInToken } from '../agent/io/token/sign.ts';
import type { Token } from '../agent/io/token/token.ts';
import { destroyUnfinished } from '../agent/io/token/unfinished.ts';
import { keySource, type KeySource } from './imported-key.ts';
import type { Outcome, Provisioning } from './record.ts';
import { isRegistrationBegun } from './register.ts';

interface WantedKey {
  readonly name: ObjectName;
  readonly type: KeyType;
  /** Somebody outside knows this key: it is never thrown away. */
  readonly isKnownOutside: boolean;
}

/**
 * Makes the two key pairs, or proves that they are there: one pair each, of the right type, made in the
 * token, unable to leave it, and signing.
 *
 * What a power cut left of a pair is destroyed and made again, as long as no certificate and no
 * registration depends on it.
 *
 * @throws OtaError TOKEN_KEY_UNSAFE, TOKEN_MECHANISM
 * @throws OtaError TOKEN_OBJECT if a key that somebody depends on is not usable
 */
export async function provisionKeys(all: Provisioning, token: Token): Promise<TokenKey> {
  const { identity } = all.settings;
  reviewKeyTypes(token, identity, identity);
  const unfinished = destroyUnfinished(token);
  if (unfinished > 0)
    all.say('keys', 'done now', `removed ${String(unfinished)} unfinished objects`);
  const hasCertificate = readCertificates(token).length > 0;
  const { tls: namedTls, uptane: namedUptane } = all.found ?? {};
  const tls =
    namedTls === undefined
      ? await ensureTlsKey(all, token, hasCertificate)
      : acceptNamed(all, token, namedTls, 'tls');
  if (namedUptane !== undefined) acceptNamed(all, token, namedUptane, 'uptane');
  else {
    ensureKey(all, token, {
      name: all.choice?.uptane ?? oneOf(token, UPTANE_KEY),
      type: identity.uptane_key_type,
      isKnownOutside: await isRegistrationBegun(all.record),
    });
  }
  return tls;
}

async function ensureTlsKey(
  all: Provisioning,
  token: Token,
  isKnownOutside: boolean,
): Promise<TokenKey> {
  const name = all.choice?.tls ?? oneOf(token, TLS_KEY);
  const type = all.settings.identity.tls_key_type;
  const source = keySource(all);
  if (source === undefined) return ensureKey(all, token, { name, type, isKnownOutside });
  const key = await ensureImported(all, token, source, { name, isKnownOutside });
  const leftover = source.leftover();
  if (leftover !== undefined) all.say('keys', 'noted', leftover);
  return key;
}

/**
 * A TLS key that was made somewhere else, where the settings allow that.
 *
 * One that was made in the token before, and that nobody knows, gives way.
 */
async function ensureImported(
  all: Provisioning,
  token: Token,
  source: KeySource,
  { name, isKnownOutside }: Pick<WantedKey, 'name' | 'isKnownOutside'>,
): Promise<TokenKey> {
  const state = inspectKey(token, name);
  const isInUse = isKnownOutside || (state.is === 'whole' && isImported(token, name));
  if (state.is === 'whole' && isInUse && proves(token, name, state.key)) {
    checkKeyAttributes(token, name, true);
    all.say('keys', 'found done', `${name.label} (${state.key.type})`);
    return state.key;
  }
  const key = importKey(token, name, await source.read());
  checkKeyAttributes(token, name, true);
  all.say('keys', 'done now', `${name.label} (${key.type}), IMPORTED`);
  return key;
}

/** Where a rotation was cut short and its record is lost, the first whole pair; else what there is. */
function oneOf(token: Token, name: ObjectName): ObjectName {
  const all = listGenerations(token, name);
  if (all.length < 2) return name;
  return all.find((one) => inspectKey(token, one).is === 'whole') ?? name;
}

/**
 * A key that the settings name: whoever made it, it has to be whole, safe and working. Its type is
 * whatever the use can do.
 *
 * @throws OtaError TOKEN_OBJECT, TOKEN_KEY_UNSAFE
 */
function acceptNamed(
  all: Provisioning,
  token: Token,
  name: ObjectName,
  use: 'tls' | 'uptane',
): TokenKey {
  const state = inspectKey(token, name);
  const unusable = (problem: string): OtaError<'TOKEN_OBJECT'> =>
    new OtaError('TOKEN_OBJECT', {
      uri: `${token.uri} ${name.label}`,
      problem,
      remedy: 'mend it with the tool that made it, or take it out of [identity]: then we make one',
    });
  if (state.is === 'broken') throw unusable(state.problem);
  if (state.is === 'absent') throw unusable('it is gone');
  if (use === 'tls' && state.key.type === 'ed25519') {
    throw unusable('it is an Ed25519 key, with which libp11 does no TLS');
  }
  checkKeyAttributes(token, name, all.settings.identity.allow_imported);
  if (!proves(token, name, state.key)) throw unusable('what it signs does not verify');
  all.say('keys', 'found done', `${name.label} (${state.key.type}), named in [identity]`);
  return state.key;
}

function ensureKey(all: Provisioning, token: Token, wanted: WantedKey): TokenKey {
  const { name, type } = wanted;
  const say = (outcome: Outcome): void => {
    all.say('keys', outcome, `${name.label} (${type})`);
  };
  const state = inspectKey(token, name);
  if (state.is === 'whole') {
    checkKeyAttributes(token, name, all.settings.identity.allow_imported);
    const problem = problemOf(token, name, state.key, type);
    if (problem === undefined) {
      say('found done');
      return state.key;
    }
    demandUnused(token, wanted, problem);
  }
  if (state.is === 'broken') demandUnused(token, wanted, state.problem);
  destroyKey(token, name);
  const key = generateKey(token, name, type);
  say('done now');
  return key;
}

function problemOf(
  token: Token,
  name: ObjectName,
  key: TokenKey,
  type: KeyType,
): string | undefined {
  if (key.type !== type) return `it is of type ${key.type}, the settings say ${type}`;
  return proves(token, name, key) ? undefined : 'what it signs does not verify';
}

const DIGESTS: Readonly<Record<Scheme, string | null>> = {
  'ecdsa-sha256': 'sha256',
  'ecdsa-sha384': 'sha384',
  'rsassa-pkcs1-sha256': 'sha256',
  'rsassa-pss-sha256': 'sha256',
  ed25519: null,
};

/** Whether private and public key belong together: objects alone do not say so after a power cut. */
function proves(token: Token, name: ObjectName, { type, publicKey }: TokenKey): boolean {
  const challenge = randomBytes(32);
  const { manifest } = KEY_TYPES[type];
  try {
    const signature = signInToken(token, name, manifest, challenge);
    const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    const options = type.startsWith('rsa-') ? pss : { dsaEncoding: 'ieee-p1363' as const };
    const digest = DIGESTS[manifest];
    return verify(digest, challenge, { key: publicKey, ...options }, signature);
  } catch (error) {
    if (isOtaError(error) && error.code === 'TOKEN_FAILED') return false;
    throw error;
  }
}

function demandUnused(token: Token, { name, isKnownOutside }: WantedKey, problem: string): void {
  if (!isKnownOutside) return;
  throw new OtaError('TOKEN_OBJECT', {
    uri: `${token.uri} ${name.label}`,
    problem,
    remedy:
      name.label === TLS_KEY.label
        ? 'its certificate depends on it: set the settings back, or delete key and certificate'
        : 'the Director knows it: set the settings back, or delete the key and replace the ECU there',
  });
}
