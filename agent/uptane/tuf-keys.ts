/**
 * Keys and signatures as TUF writes them: the key says how it signs, the signature is hex.
 *
 * Source: TUF specification §4.2.
 */
import { verify, constants, type KeyObject } from 'node:crypto';

import { isOtaError } from '../errors.ts';
import { malformed, type Fields } from '../decode.ts';
import {
  isSignedBy,
  isSoundEd25519,
  isSoundRsa,
  materialOf,
  methodOf,
  readAuthority,
  readKey,
  signatureEntries,
  spki,
  spkiFromPem,
  usableKeys,
  type Authority,
  type PublicKey,
} from './keys.ts';

export interface TufSignature {
  readonly keyId: string;
  /** Hex, as received; empty where a signature is still to be made. */
  readonly value: string;
}

interface Scheme {
  readonly keyTypes: readonly string[];
  readonly type: PublicKey['type'];
  /** `undefined`: the algorithm hashes by itself. */
  readonly hash: 'sha256' | 'sha384' | 'sha512' | undefined;
  readonly curve?: Curve;
}

interface Curve {
  /** As Node.js calls it. */
  readonly name: string;
  /** SPKI of an uncompressed point, up to the point. */
  readonly header: string;
  readonly pointBytes: number;
}

const P256: Curve = {
  name: 'prime256v1',
  header: '3059301306072a8648ce3d020106082a8648ce3d030107034200',
  pointBytes: 65,
};
const P384: Curve = {
  name: 'secp384r1',
  header: '3076301006072a8648ce3d020106052b81040022036200',
  pointBytes: 97,
};
const ED25519_HEADER = '302a300506032b6570032100';
const ED25519_BYTES = 32;
const HEX = /^(?:[0-9a-fA-F]{2})+$/;

/** What tuf-js verifies, too. */
const SCHEMES: ReadonlyMap<string, Scheme> = new Map([
  ['ed25519', { keyTypes: ['ed25519'], type: 'ed25519', hash: undefined }],
  ['ecdsa-sha2-nistp256', ecdsa('ecdsa-sha2-nistp256', 'sha256', P256)],
  ['ecdsa-sha2-nistp384', ecdsa('ecdsa-sha2-nistp384', 'sha384', P384)],
  ['rsassa-pss-sha256', { keyTypes: ['rsa'], type: 'rsa', hash: 'sha256' }],
  ['rsassa-pss-sha384', { keyTypes: ['rsa'], type: 'rsa', hash: 'sha384' }],
  ['rsassa-pss-sha512', { keyTypes: ['rsa'], type: 'rsa', hash: 'sha512' }],
]);
const KEY_TYPES: ReadonlySet<string> = new Set(
  [...SCHEMES.values()].flatMap(({ keyTypes }) => keyTypes),
);

/** Can a client that knows TUF's own schemes alone check signatures of this key? */
export function isPlainTuf({ scheme }: PublicKey): boolean {
  return SCHEMES.has(scheme ?? '');
}

/**
 * Reads a `keys` object. A key that cannot be used, for its type, scheme, form or strength, is left
 * out: it never counts, and that is all that TUF asks.
 *
 * @throws OtaError METADATA_MALFORMED for what is no key at all
 */
export function readTufKeys(keys: Fields): ReadonlyMap<string, PublicKey> {
  return usableKeys(keys, readTufKey);
}

/**
 * Reads `keyids` and `threshold` of a role.
 *
 * @throws OtaError METADATA_MALFORMED, also for a key that is listed twice
 */
export function readTufAuthority(role: Fields, keys: ReadonlyMap<string, PublicKey>): Authority {
  const authority = readAuthority(role, keys);
  const ids = role.strings('keyids');
  if (new Set(ids).size !== ids.length) throw malformed(role.at('keyids'), 'each key once');
  return authority;
}

/** @throws OtaError METADATA_MALFORMED, also for two signatures under one key id (§4.2.1) */
export function readTufSignatures(envelope: Fields): readonly TufSignature[] {
  const signatures = signatureEntries(envelope).map((fields) => ({
    keyId: fields.string('keyid'),
    value: fields.string('sig'),
  }));
  if (new Set(signatures.map(({ keyId }) => keyId)).size !== signatures.length) {
    throw malformed(envelope.at('signatures'), 'each key id once');
  }
  return signatures;
}

/** How many different keys of `authority` signed; one key under two ids is one. */
export function countTufSigners(
  signatures: readonly TufSignature[],
  authority: Authority,
  payload: Uint8Array,
): number {
  const signers = new Set<string>();
  for (const { keyId, value } of signatures) {
    const key = authority.keys.get(keyId);
    if (key === undefined || signers.has(key.material) || !HEX.test(value)) continue;
    if (isSigned(key, Buffer.from(value, 'hex'), payload)) signers.add(key.material);
  }
  return signers.size;
}

function isSigned(key: PublicKey, value: Buffer, payload: Uint8Array): boolean {
  const name = key.scheme ?? '';
  const scheme = SCHEMES.get(name);
  if (scheme === undefined) {
    const signature = { keyId: '', method: methodOf(name), value: value.toString('base64') };
    return isSignedBy(key, signature, payload);
  }
  // A key of a type that `SCHEMES` does not have may still name one of its schemes.
  if (scheme.type !== key.type) return false;
  const padding =
    key.type === 'rsa'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
      : {};
  return verify(scheme.hash, payload, { key: key.key, ...padding }, value);
}

function readTufKey(fields: Fields): PublicKey | undefined {
  const [keyType, name] = [fields.string('keytype'), fields.string('scheme')];
  const value = fields.object('keyval');
  if (!KEY_TYPES.has(keyType.toLowerCase())) return foreignKey(fields, name);
  const scheme = SCHEMES.get(name);
  if (scheme?.keyTypes.includes(keyType) !== true) return undefined;
  const text = value.optionalString('public') ?? '';
  const key = spkiFromPem(text) ?? fromHex(text, scheme);
  if (key === undefined || !fits(key, scheme)) return undefined;
  return { type: scheme.type, key, material: materialOf(key), scheme: name };
}

/** Key types that TUF does not name but `keys.ts` knows sign here as they do there. */
function foreignKey(fields: Fields, scheme: string): PublicKey | undefined {
  try {
    const key = readKey(fields);
    return key === undefined ? undefined : { ...key, scheme };
  } catch (error) {
    if (!isOtaError(error)) throw error;
    return undefined;
  }
}

/** Older tools write the bare key: 32 bytes of Ed25519, or an uncompressed point. */
function fromHex(text: string, { type, curve }: Scheme): KeyObject | undefined {
  const bytes = HEX.test(text) ? text.length / 2 : 0;
  if (type === 'ed25519' && bytes === ED25519_BYTES) {
    return spki(Buffer.from(`${ED25519_HEADER}${text}`, 'hex'));
  }
  if (bytes !== curve?.pointBytes) return undefined;
  return spki(Buffer.from(`${curve.header}${text}`, 'hex'));
}

function fits(key: KeyObject, { type, curve }: Scheme): boolean {
  if (type === 'rsa') return isSoundRsa(key);
  if (type === 'ed25519') return isSoundEd25519(key);
  return key.asymmetricKeyType === type && key.asymmetricKeyDetails?.namedCurve === curve?.name;
}

function ecdsa(name: string, hash: 'sha256' | 'sha384', curve: Curve): Scheme {
  return { keyTypes: ['ecdsa', name], type: 'ec', hash, curve };
}
