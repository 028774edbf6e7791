/** A P-256 key pair in software, in the place of the one in a token. */
import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';

import type { Agree } from '../../agent/io/secrets/jwe.ts';
import { checkKey, type SecretsKey } from '../director/gateway/encrypt.ts';

export interface SoftwareKey extends SecretsKey {
  readonly privateKey: KeyObject;
  readonly agree: Agree;
}

export function softwareKey(): SoftwareKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  return { ...checkKey(x, y), privateKey, agree: (point) => agree(privateKey, point) };
}

function agree(privateKey: KeyObject, point: Uint8Array): Buffer {
  const coordinate = (from: number): string =>
    Buffer.from(point.slice(from, from + 32)).toString('base64url');
  const jwk = { kty: 'EC', crv: 'P-256', x: coordinate(1), y: coordinate(33) };
  return diffieHellman({ privateKey, publicKey: createPublicKey({ key: jwk, format: 'jwk' }) });
}
