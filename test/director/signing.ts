/**
 * Keys and signatures as aktualizr and its servers write them.
 *
 * Ed25519 keys are 32 bytes in hex, RSA keys are SPKI in PEM; signatures are standard Base64;
 * RSA means RSASSA-PSS with SHA-256 and a salt of 32 bytes.
 */
import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';

import { canonicalJson, type JsonMap } from './json/canonical-json.ts';

export const KEY_TYPES = ['ed25519', 'rsa-2048'] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** A public key as it stands in metadata and in ECU registrations. */
export interface PublicKeyText {
  readonly keytype: 'ED25519' | 'RSA';
  readonly keyval: { readonly public: string };
}

/** A key pair of this server. `privatePem` is PKCS#8. */
export interface KeyPair {
  readonly id: string;
  readonly publicKey: PublicKeyText;
  readonly privatePem: string;
}

const SALT_BYTES = 32;
const MIN_RSA_BITS = 2048;

export function generateKey(type: KeyType): KeyPair {
  const pair =
    type === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('rsa', { modulusLength: MIN_RSA_BITS });
  const publicKey = publicKeyText(pair.publicKey);
  const privatePem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { id: keyId(publicKey), publicKey, privatePem };
}

/** SHA-256 of the public text as a JSON string, without the newline that ends a PEM. */
export function keyId(key: PublicKeyText): string {
  const text = JSON.stringify(key.keyval.public.replace(/\n+$/u, ''));
  return createHash('sha256').update(text).digest('hex');
}

export function publicKeyText(key: KeyObject): PublicKeyText {
  if (key.asymmetricKeyType === 'rsa') {
    const pem = key.export({ type: 'spki', format: 'pem' }).toString();
    return { keytype: 'RSA', keyval: { public: pem } };
  }
  const { x = '' } = key.export({ format: 'jwk' });
  const hex = Buffer.from(x, 'base64url').toString('hex').toUpperCase();
  return { keytype: 'ED25519', keyval: { public: hex } };
}

/**
 * @returns `undefined` for a key that a Director of the field does not accept: EC, RSA below 2048
 *   bits, or no key at all
 */
export function importPublicKey(keytype: string, text: string): KeyObject | undefined {
  try {
    if (keytype.toUpperCase() === 'ED25519') return importEd25519(text);
    if (keytype.toUpperCase() !== 'RSA') return undefined;
    const key = createPublicKey(text);
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    return key.asymmetricKeyType === 'rsa' && bits >= MIN_RSA_BITS ? key : undefined;
  } catch {
    return undefined;
  }
}

/** A metadata file: the payload and one signature per key, in canonical form. */
export function signEnvelope(signed: JsonMap, keys: readonly KeyPair[]): string {
  const payload = Buffer.from(canonicalJson(signed));
  const signatures = keys.map((key) => ({
    keyid: key.id,
    method: key.publicKey.keytype === 'RSA' ? 'rsassa-pss' : 'ed25519',
    sig: signPayload(payload, createPrivateKey(key.privatePem)).toString('base64'),
  }));
  return canonicalJson({ signatures, signed });
}

/** @returns whether `key` made `signature` over exactly `payload` */
export function isSignedBy(key: KeyObject, payload: Uint8Array, signature: Uint8Array): boolean {
  if (key.asymmetricKeyType === 'rsa') return verify('sha256', payload, pss(key), signature);
  return verify(null, payload, key, signature);
}

export function signPayload(payload: Uint8Array, key: KeyObject): Buffer {
  return key.asymmetricKeyType === 'rsa'
    ? sign('sha256', payload, pss(key))
    : sign(null, payload, key);
}

function pss(key: KeyObject): { key: KeyObject; padding: number; saltLength: number } {
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: SALT_BYTES };
}

function importEd25519(hex: string): KeyObject | undefined {
  if (!/^[0-9a-fA-F]{64}$/u.test(hex)) return undefined;
  const x = Buffer.from(hex, 'hex').toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}
