/**
 * Encrypts to a device: compact JWE, ECDH-ES on P-256 with A256GCM (RFC 7516, RFC 7518 §4.6).
 *
 * Written here from scratch: it shares nothing with the client that has to open it.
 */
import {
  createCipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
} from 'node:crypto';

import { Refusal } from '../failure.ts';
import type { JsonMap } from '../json/canonical-json.ts';

/** A public key on P-256, coordinates in Base64url, and its RFC 7638 thumbprint. */
export interface SecretsKey {
  readonly kid: string;
  readonly x: string;
  readonly y: string;
}

/** @throws Refusal 400 `key_malformed` */
export function checkKey(x: string, y: string): SecretsKey {
  try {
    createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
  } catch (cause) {
    throw new Refusal(400, 'key_malformed', 'key must be an EC key on P-256', { cause });
  }
  const kid = createHash('sha256').update(`{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`);
  return { kid: kid.digest('base64url'), x, y };
}

/** @param claims - members of the protected header beside those of the algorithm */
export function encrypt(content: Buffer, { kid, x, y }: SecretsKey, claims: JsonMap): string {
  const recipient = createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const epk = publicKey.export({ format: 'jwk' });
  const header = { alg: 'ECDH-ES', enc: 'A256GCM', kid, epk, ...claims };
  const protectedText = Buffer.from(JSON.stringify(header)).toString('base64url');
  const otherInfo = Buffer.concat([prefixed('A256GCM'), prefixed(''), prefixed(''), number(256)]);
  const shared = diffieHellman({ privateKey, publicKey: recipient });
  const key = createHash('sha256').update(number(1)).update(shared).update(otherInfo).digest();
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(protectedText));
  const sealed = Buffer.concat([cipher.update(content), cipher.final()]);
  const parts = [iv, sealed, cipher.getAuthTag()].map((part) => part.toString('base64url'));
  return [protectedText, '', ...parts].join('.');
}

function prefixed(text: string): Buffer {
  return Buffer.concat([number(Buffer.byteLength(text)), Buffer.from(text)]);
}

function number(value: number): Buffer {
  return Buffer.from(value.toString(16).padStart(8, '0'), 'hex');
}
