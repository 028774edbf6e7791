/**
 * Encrypts to a device: compact JWE with A256GCM, ECDH-ES on P-256 or RSA-OAEP (RFC 7516, RFC 7518 §4).
 *
 * Written here from scratch: it shares nothing with the client that has to open it.
 */
import {
  constants,
  createCipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
  type KeyObject,
} from 'node:crypto';

import { Refusal } from '../failure.ts';
import type { JsonMap } from '../json/canonical-json.ts';
import type { JsonReader } from '../json/read-json.ts';

/** What a device registered, with its RFC 7638 thumbprint. */
export interface SecretsKey {
  readonly kid: string;
  readonly jwk: Readonly<Record<string, string>>;
}

interface Wrapped {
  readonly header: object;
  readonly key: Buffer;
  /** `key`, encrypted; empty where it was agreed on. */
  readonly wrapped: Buffer;
}

/** By `kty`, in the order of their names: RFC 7638 §3.2. */
const MEMBERS = { EC: ['crv', 'kty', 'x', 'y'], RSA: ['e', 'kty', 'n'] } as const;
const MIN_RSA_BITS = 2048;

/** @throws Refusal 400 `key_malformed` */
export function checkKey(key: JsonReader): SecretsKey {
  const kty = key.string('kty');
  if (kty !== 'EC' && kty !== 'RSA') throw malformed();
  const jwk = Object.fromEntries(MEMBERS[kty].map((name) => [name, key.string(name)]));
  const { modulusLength = MIN_RSA_BITS } = importKey(jwk).asymmetricKeyDetails ?? {};
  if (modulusLength < MIN_RSA_BITS || (kty === 'EC' && jwk['crv'] !== 'P-256')) throw malformed();
  const kid = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
  return { kid, jwk };
}

/** @param claims - members of the protected header beside those of the algorithm */
export function encrypt(content: Buffer, { kid, jwk }: SecretsKey, claims: JsonMap): string {
  const recipient = importKey(jwk);
  const { header, key, wrapped } = jwk['kty'] === 'EC' ? agree(recipient) : wrap(recipient);
  const members = { ...header, enc: 'A256GCM', kid, ...claims };
  const protectedText = Buffer.from(JSON.stringify(members)).toString('base64url');
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(protectedText));
  const sealed = Buffer.concat([cipher.update(content), cipher.final()]);
  const parts = [wrapped, iv, sealed, cipher.getAuthTag()].map((part) =>
    part.toString('base64url'),
  );
  return [protectedText, ...parts].join('.');
}

function agree(recipient: KeyObject): Wrapped {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const shared = diffieHellman({ privateKey, publicKey: recipient });
  const otherInfo = Buffer.concat([prefixed('A256GCM'), prefixed(''), prefixed(''), number(256)]);
  const key = createHash('sha256').update(number(1)).update(shared).update(otherInfo).digest();
  const header = { alg: 'ECDH-ES', epk: publicKey.export({ format: 'jwk' }) };
  return { header, key, wrapped: Buffer.alloc(0) };
}

function wrap(recipient: KeyObject): Wrapped {
  const key = randomBytes(32);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const wrapped = publicEncrypt({ key: recipient, padding, oaepHash: 'sha1' }, key);
  return { header: { alg: 'RSA-OAEP' }, key, wrapped };
}

function importKey(jwk: SecretsKey['jwk']): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    throw malformed(cause);
  }
}

function malformed(cause?: unknown): Refusal {
  const want = 'key must be a JWK: EC on P-256, or RSA of 2048 bits and more';
  return new Refusal(400, 'key_malformed', want, { cause });
}

function prefixed(text: string): Buffer {
  return Buffer.concat([number(Buffer.byteLength(text)), Buffer.from(text)]);
}

function number(value: number): Buffer {
  return Buffer.from(value.toString(16).padStart(8, '0'), 'hex');
}
