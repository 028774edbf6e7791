/**
 * Public keys and the signatures made with them.
 *
 * Key ids are labels and nothing more: repositories compute them in two ways, and a root that lists
 * one key under two ids must not let its owner sign twice.
 */
import { createPublicKey, verify, constants, type KeyObject } from 'node:crypto';

import { malformed, type Fields } from '../decode.ts';

export interface PublicKey {
  /** As Node.js calls it. */
  readonly type: 'rsa' | 'ed25519' | 'ec' | MlDsa;
  readonly key: KeyObject;
  /** How the key signs, where the key says so and not the signature: in TUF. */
  readonly scheme?: string;
  /** Equal for all ways to write one key, and for keys that share one private key by construction. */
  readonly material: string;
}

/** Post-quantum signatures, FIPS 204, with an empty context. */
type MlDsa = 'ml-dsa-65' | 'ml-dsa-87';

/** Who may sign for a role, and how many of them have to. */
export interface Authority {
  /** Keys that can count, by key id. */
  readonly keys: ReadonlyMap<string, PublicKey>;
  readonly threshold: number;
}

export interface Signature {
  readonly keyId: string;
  readonly method: string;
  /** Base64, as received. */
  readonly value: string;
}

const MIN_RSA_BITS = 2048;
/** More than OpenSSL verifies with. */
const MAX_RSA_BITS = 16_384;
/** With 1, anybody signs; a long one makes each check as slow as a signature. */
const MIN_RSA_EXPONENT = 3n;
const MAX_RSA_EXPONENT = 2n ** 64n;
/** Each key costs memory outside of the heap; each key id a look-up. */
const MAX_KEYS = 4096;
const MAX_KEY_IDS = 1024;
const MAX_THRESHOLD = 1000;
const MAX_SIGNATURES = 256;
/** Each costs a hash of the whole file, and whoever is in between can repeat a known key id. */
const MAX_SIGNATURES_OF_KEY = 4;
const ED25519_HEX = /^[0-9a-fA-F]{64}$/;
const ED25519_SPKI_HEADER = '302a300506032b6570032100';
/** 2^255-19; coordinates are below it. */
const ED25519_PRIME = 2n ** 255n - 19n;
/** The points of order 8; their y coordinates differ in sign. */
const ED25519_ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
/** The y coordinates of all points that multiply to nothing: anybody can sign for such a key. */
const ED25519_SMALL_ORDER: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  ED25519_PRIME - 1n,
  ED25519_ORDER_8,
  ED25519_PRIME - ED25519_ORDER_8,
]);
const SPKI_PEM =
  /^-----BEGIN PUBLIC KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END PUBLIC KEY-----\s*$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Signature methods of the field, by the type of key they need. */
const METHODS: ReadonlyMap<string, PublicKey['type']> = new Map([
  ['rsassa-pss', 'rsa'],
  ['rsassa-pss-sha256', 'rsa'],
  ['ed25519', 'ed25519'],
  ['ml-dsa-65', 'ml-dsa-65'],
  ['ml-dsa-87', 'ml-dsa-87'],
]);
/** Schemes of TUF that write a version behind the name. */
const SCHEME_VERSION = /^(ml-dsa-(?:65|87))\/1$/;

/**
 * Reads a `keys` object. Keys of a type this agent does not know are left out: they never count
 * towards a threshold, and a repository may introduce them before every device understands them.
 *
 * Source: TUF specification §4.2, which leaves the set of key types open.
 *
 * @throws OtaError METADATA_MALFORMED for a key of a known type that is broken or too weak
 */
export function readKeys(keys: Fields): ReadonlyMap<string, PublicKey> {
  return usableKeys(keys, readKey);
}

/** @throws OtaError METADATA_MALFORMED for more keys than anyone needs, and whatever `read` throws */
export function usableKeys(
  keys: Fields,
  read: (fields: Fields) => PublicKey | undefined,
): ReadonlyMap<string, PublicKey> {
  if (keys.size > MAX_KEYS) throw malformed(keys.path, `at most ${String(MAX_KEYS)} keys`);
  const usable = new Map<string, PublicKey>();
  for (const [id, fields] of keys.members()) {
    const key = read(fields);
    if (key !== undefined) usable.set(id, key);
  }
  return usable;
}

/**
 * One key.
 *
 * @returns `undefined` for a type that is not known here
 * @throws OtaError METADATA_MALFORMED for a key of a known type that is broken or too weak
 */
export function readKey(fields: Fields): PublicKey | undefined {
  const keyType = fields.string('keytype').toLowerCase();
  // TUF has one key type for all its sizes, and the scheme tell them apart.
  const type = keyType === 'ml-dsa' ? methodOf(fields.optionalString('scheme') ?? '') : keyType;
  switch (type) {
    case 'rsa':
      return rsaKey(fields.object('keyval'));
    case 'ed25519':
      return ed25519Key(fields.object('keyval'));
    case 'ml-dsa-65':
    case 'ml-dsa-87':
      return mlDsaKey(type, fields.object('keyval'));
    default:
      return undefined;
  }
}

/** The signature method of a TUF scheme. */
export function methodOf(scheme: string): string {
  return scheme.replace(SCHEME_VERSION, '$1');
}

/**
 * Reads `keyids` and `threshold` of a role.
 *
 * Source: Uptane Standard 2.1 §5.2.2.
 *
 * @throws OtaError METADATA_MALFORMED for a threshold that nobody or anybody could meet
 */
export function readAuthority(role: Fields, keys: ReadonlyMap<string, PublicKey>): Authority {
  const threshold = role.integer('threshold', 1);
  if (threshold > MAX_THRESHOLD) {
    throw malformed(role.at('threshold'), `at most ${String(MAX_THRESHOLD)}`);
  }
  if (role.count('keyids') > MAX_KEY_IDS) {
    throw malformed(role.at('keyids'), `at most ${String(MAX_KEY_IDS)} key ids`);
  }
  const own = new Map<string, PublicKey>();
  for (const id of role.strings('keyids')) {
    const key = keys.get(id);
    if (key !== undefined) own.set(id, key);
  }
  return { keys: own, threshold };
}

/** @throws OtaError METADATA_MALFORMED, also for more signatures than anyone needs to check */
export function readSignatures(envelope: Fields): readonly Signature[] {
  return signatureEntries(envelope).map((fields) => ({
    keyId: fields.string('keyid'),
    method: fields.string('method').toLowerCase(),
    value: fields.string('sig'),
  }));
}

/** @throws OtaError METADATA_MALFORMED for more signatures than anyone needs to check */
export function signatureEntries(envelope: Fields): readonly Fields[] {
  // Every entry may cost a public key operation.
  if (envelope.count('signatures') > MAX_SIGNATURES) {
    throw malformed(envelope.at('signatures'), `at most ${String(MAX_SIGNATURES)} signatures`);
  }
  return envelope.objects('signatures');
}

/**
 * How many different keys of `authority` signed. Of one key the first four signatures are looked at.
 *
 * @param forms - the serialisations that a signature may cover; any one will do
 */
export function countSigners(
  signatures: readonly Signature[],
  authority: Authority,
  forms: Iterable<Uint8Array>,
): number {
  const signers = new Set<string>();
  const tries = new Map<string, number>();
  for (const signature of signatures) {
    const key = authority.keys.get(signature.keyId);
    if (key === undefined || signers.has(key.material)) continue;
    const tried = tries.get(key.material) ?? 0;
    if (tried === MAX_SIGNATURES_OF_KEY) continue;
    tries.set(key.material, tried + 1);
    for (const form of forms) {
      if (!isSignedBy(key, signature, form)) continue;
      signers.add(key.material);
      break;
    }
  }
  return signers.size;
}

/** @param form - the bytes that are signed */
export function isSignedBy(key: PublicKey, signature: Signature, form: Uint8Array): boolean {
  // A method that does not fit the key would let the signer choose how we interpret it.
  if (METHODS.get(signature.method) !== key.type || !BASE64.test(signature.value)) return false;
  const value = Buffer.from(signature.value, 'base64');
  if (key.type !== 'rsa') return verify(null, form, key.key, value);
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return verify('sha256', form, { key: key.key, padding, saltLength: 32 }, value);
}

function rsaKey(value: Fields): PublicKey {
  const key = spkiFromPem(value.string('public'));
  if (key === undefined || !isSoundRsa(key)) {
    const want = `an RSA key of at least ${String(MIN_RSA_BITS)} bits, SPKI in PEM`;
    throw malformed(value.at('public'), want);
  }
  return { type: 'rsa', key, material: materialOf(key) };
}

function ed25519Key(value: Fields): PublicKey {
  const hex = value.string('public');
  const key = ED25519_HEX.test(hex)
    ? spki(Buffer.from(`${ED25519_SPKI_HEADER}${hex}`, 'hex'))
    : undefined;
  if (key === undefined) throw malformed(value.at('public'), '32 bytes in hex');
  if (!isSoundEd25519(key)) throw malformed(value.at('public'), 'a key that only its owner has');
  return { type: 'ed25519', key, material: materialOf(key) };
}

/** As PEM like RSA keys: hex would be as long, and say nothing of what it is. */
function mlDsaKey(type: MlDsa, value: Fields): PublicKey {
  const key = spkiFromPem(value.string('public'));
  if (key?.asymmetricKeyType !== type) {
    throw malformed(value.at('public'), `an ${type.toUpperCase()} key, SPKI in PEM`);
  }
  return { type, key, material: materialOf(key) };
}

/** Is it an RSA key that only its owner can sign with? */
export function isSoundRsa(key: KeyObject): boolean {
  const { modulusLength: bits = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  return (
    key.asymmetricKeyType === 'rsa' &&
    bits >= MIN_RSA_BITS &&
    bits <= MAX_RSA_BITS &&
    publicExponent >= MIN_RSA_EXPONENT &&
    publicExponent < MAX_RSA_EXPONENT &&
    publicExponent % 2n === 1n
  );
}

/**
 * Is it an Ed25519 key in its only encoding, and not one of those that anybody can sign with?
 *
 * Source: RFC 8032 §5.1.3 for the encoding.
 */
export function isSoundEd25519(key: KeyObject): boolean {
  if (key.asymmetricKeyType !== 'ed25519') return false;
  const point = key.export({ type: 'spki', format: 'der' }).subarray(-32).reverse();
  const y = BigInt(`0x${point.toString('hex')}`) & (2n ** 255n - 1n);
  return y < ED25519_PRIME && !ED25519_SMALL_ORDER.has(y);
}

/** Not `createPublicKey(pem)`, which would also take a certificate or a private key. */
export function spkiFromPem(pem: string): KeyObject | undefined {
  const body = SPKI_PEM.exec(pem)?.[1];
  return body === undefined ? undefined : spki(Buffer.from(body, 'base64'));
}

export function spki(der: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

/**
 * What one private key has in common however its public key is written: one modulus with two
 * exponents, or a point and its negative, are not two signers. A point has two encodings, too.
 */
export function materialOf(key: KeyObject): string {
  const type = key.asymmetricKeyType ?? '';
  if (type === 'rsa') return `${type} ${key.export({ format: 'jwk' }).n ?? ''}`;
  if (type === 'ec') {
    const { crv, x } = key.export({ format: 'jwk' });
    return [type, crv, x].join(' ');
  }
  return `${type} ${key.export({ type: 'spki', format: 'der' }).toString('base64')}`;
}
