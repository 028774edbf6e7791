/** Key pairs in software, in the place of one in a token: what is encrypted to each, and how it is opened. */
import {
  constants,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  privateDecrypt,
  type KeyObject,
} from 'node:crypto';

import type { PublicJwk } from '../../agent/io/secrets/jwe.ts';
import type { SecretsKey } from '../../agent/io/secrets/receive.ts';
import { checkKey, type SecretsKey as RegisteredKey } from '../director/gateway/encrypt.ts';
import { JsonReader } from '../director/json/read-json.ts';

export interface SoftwareKey {
  readonly key: SecretsKey;
  /** As whoever encrypts has it. */
  readonly registered: RegisteredKey;
  readonly privateKey: KeyObject;
}

export function softwareKey(type: 'EC' | 'RSA' = 'EC'): SoftwareKey {
  const { privateKey, publicKey } =
    type === 'EC'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = publicKey.export({ format: 'jwk' }) as PublicJwk;
  const registered = registeredKey(jwk);
  if (type === 'EC') {
    const key = { jwk, alg: 'ECDH-ES', agree: agreement(privateKey) } as const;
    return { key, registered, privateKey };
  }
  const decrypt = (ciphertext: Uint8Array): Buffer | undefined => {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    try {
      return privateDecrypt({ key: privateKey, padding, oaepHash: 'sha1' }, ciphertext);
    } catch {
      return undefined;
    }
  };
  return { key: { jwk, alg: 'RSA-OAEP', decrypt }, registered, privateKey };
}

export function registeredKey(jwk: PublicJwk): RegisteredKey {
  return checkKey(new JsonReader({ ...jwk }));
}

function agreement(privateKey: KeyObject): (point: Uint8Array) => Buffer {
  return (point) => {
    const coordinate = (from: number): string =>
      Buffer.from(point.slice(from, from + 32)).toString('base64url');
    const jwk = { kty: 'EC', crv: 'P-256', x: coordinate(1), y: coordinate(33) };
    return diffieHellman({ privateKey, publicKey: createPublicKey({ key: jwk, format: 'jwk' }) });
  };
}
