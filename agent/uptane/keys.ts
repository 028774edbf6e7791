/**
 * Public keys and the signatures made with them.
 *
 * Key ids are labels and nothing more: repositories compute them in two ways, and a root that lists
 * one key under two ids must not let its owner sign twice.
 */
import { createPublicKey, verify, constants, type KeyObject } from 'node:crypto';

import { malformed, type Fields } from '../decode.ts';

export interface PublicKey {
  readonly type: 'rsa' | 'ed25519' | 'ec';
  readonly key: KeyObject;
  /** How the key signs, where the key says so and not the signature: in TUF. */
  readonly scheme?: string;
  /** Base64 of the key in one normal form, SPKI DER: equal exactly for equal keys. */
  readonly material: string;
}

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

export const MIN_RSA_BITS = 2048;
const MAX_THRESHOLD = 1000;
const MAX_SIGNATURES = 256;
const ED25519_HEX = /^[0-9a-fA-F]{64}$/;
const ED25519_SPKI_HEADER = '302a300506032b6570032100';
const SPKI_PEM =
  /^-----BEGIN PUBLIC KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END PUBLIC KEY-----\s*$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Signature methods of the field, by the type of key they need. */
const METHODS: ReadonlyMap<string, PublicKey['type']> = new Map([
  ['rsassa-pss', 'rsa'],
  ['rsassa-pss-sha256', 'rsa'],
  ['ed25519', 'ed25519'],
]);

/**
 * Reads a `keys` object. Keys of a type this agent does not know are left out: they never count
 * towards a threshold, and a repository may introduce them before every device understands them.
 *
 * Source: TUF specification §4.2, which leaves the set of key types open.
 *
 * @throws OtaError METADATA_MALFORMED for a key of a known type that is broken or too weak
 */
export function readKeys(keys: Fields): ReadonlyMap<string, PublicKey> {
  const known = new Map<string, PublicKey>();
  for (const [id, fields] of keys.members()) {
    const key = readKey(fields);
    if (key !== undefined) known.set(id, key);
  }
  return known;
}

/**
 * One key.
 *
 * @returns `undefined` for a type that is not known here
 * @throws OtaError METADATA_MALFORMED for a key of a known type that is broken or too weak
 */
export function readKey(fields: Fields): PublicKey | undefined {
  const type = fields.string('keytype').toLowerCase();
  if (type === 'rsa') return rsaKey(fields.object('keyval'));
  return type === 'ed25519' ? ed25519Key(fields.object('keyval')) : undefined;
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
  const signatures = envelope.objects('signatures');
  // Every entry may cost a public key operation.
  if (signatures.length > MAX_SIGNATURES) {
    throw malformed(envelope.at('signatures'), `at most ${String(MAX_SIGNATURES)} signatures`);
  }
  return signatures;
}

/**
 * How many different keys of `authority` signed.
 *
 * @param forms - the serialisations that a signature may cover; any one will do
 */
export function countSigners(
  signatures: readonly Signature[],
  authority: Authority,
  forms: Iterable<Uint8Array>,
): number {
  const signers = new Set<string>();
  for (const signature of signatures) {
    const key = authority.keys.get(signature.keyId);
    if (key === undefined || signers.has(key.material)) continue;
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
  if (key.type === 'ed25519') return verify(null, form, key.key, value);
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return verify('sha256', form, { key: key.key, padding, saltLength: 32 }, value);
}

function rsaKey(value: Fields): PublicKey {
  const want = `an RSA key of at least ${String(MIN_RSA_BITS)} bits, SPKI in PEM`;
  const key = spkiFromPem(value.string('public'));
  const bits = key?.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key?.asymmetricKeyType !== 'rsa' || bits < MIN_RSA_BITS) {
    throw malformed(value.at('public'), want);
  }
  return { type: 'rsa', key, material: normalForm(key) };
}

function ed25519Key(value: Fields): PublicKey {
  const hex = value.string('public');
  const key = ED25519_HEX.test(hex)
    ? spki(Buffer.from(`${ED25519_SPKI_HEADER}${hex}`, 'hex'))
    : undefined;
  if (key === undefined) throw malformed(value.at('public'), '32 bytes in hex');
  return { type: 'ed25519', key, material: normalForm(key) };
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

/** Equal exactly for equal keys. */
export function normalForm(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'der' }).toString('base64');
}
