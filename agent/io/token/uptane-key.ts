/** The Uptane key as Directors know it, and the signer that uses it. */
import { createHash, type KeyObject } from 'node:crypto';

import { OtaError } from '../../errors.ts';
import type { Signer } from '../../ports.ts';
import { UPTANE_KEY, type ObjectName } from './cryptoki.ts';
import { KEY_TYPES, type KeyType } from './key-types.ts';
import { inspectKey, type TokenKey } from './keys.ts';
import { derSignature, signInToken } from './sign.ts';
import { PROVISION } from './token-errors.ts';
import type { Token } from './token.ts';

/** A public key on the wire: `clientKey` of an ECU registration. */
export interface ClientKey {
  readonly keytype: 'RSA' | 'ED25519' | 'ECPRIME256V1';
  readonly keyval: { readonly public: string };
}

/**
 * Writes a public key the way aktualizr registers it: RSA as SPKI PEM, Ed25519 as upper-case hex, EC
 * P-256 as SPKI DER in hex, which the Director of OTA-CE refuses.
 *
 * @throws OtaError TOKEN_OBJECT for other keys: no Director has a name for them
 */
export function clientKey(publicKey: KeyObject): ClientKey {
  const type = publicKey.asymmetricKeyType ?? 'secret';
  if (type === 'rsa') {
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    return { keytype: 'RSA', keyval: { public: pem } };
  }
  if (type === 'ec' && publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1') {
    const der = publicKey.export({ type: 'spki', format: 'der' });
    return { keytype: 'ECPRIME256V1', keyval: { public: der.toString('hex') } };
  }
  if (type !== 'ed25519') throw unusable(`a key of type ${type} cannot sign manifests`);
  const { x = '' } = publicKey.export({ format: 'jwk' });
  const hex = Buffer.from(x, 'base64url').toString('hex').toUpperCase();
  return { keytype: 'ED25519', keyval: { public: hex } };
}

/** Source: aktualizr's KeyType and the `method` of its signatures. */
const METHODS: Readonly<Record<ClientKey['keytype'], Signer['method']>> = {
  RSA: 'rsassa-pss',
  ED25519: 'ed25519',
  ECPRIME256V1: 'ecPrime256v1',
};

/** Key id: SHA-256 of the JSON string of the public text without its trailing newline, in hex. */
export function keyIdOf(key: ClientKey): string {
  const text = JSON.stringify(key.keyval.public.replace(/\n+$/u, ''));
  return createHash('sha256').update(text).digest('hex');
}

/**
 * The signer of manifests.
 *
 * @param name - which key, where there are several
 * @throws OtaError NOT_PROVISIONED if the token has no Uptane key; TOKEN_OBJECT if it is half made
 */
export function openSigner(token: Token, name: ObjectName = UPTANE_KEY): Signer {
  const { publicKey, type } = wholeUptaneKey(token, name);
  const key = clientKey(publicKey);
  return {
    keyId: keyIdOf(key),
    method: METHODS[key.keytype],
    sign: (payload) =>
      new Promise((resolve) => {
        resolve(onTheWire(type, signInToken(token, name, KEY_TYPES[type].manifest, payload)));
      }),
  };
}

/** Base64; ECDSA as DER (RFC 3279 §2.2.3), the form that everybody but PKCS#11 uses. */
function onTheWire(type: KeyType, signature: Buffer): string {
  return (type.startsWith('ec-') ? derSignature(signature) : signature).toString('base64');
}

function wholeUptaneKey(token: Token, name: ObjectName): TokenKey {
  const state = inspectKey(token, name);
  if (state.is === 'whole') return state.key;
  if (state.is === 'broken') throw unusable(state.problem);
  const missing = `Uptane key "${UPTANE_KEY.label}" in token ${token.uri}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
}

function unusable(problem: string): OtaError<'TOKEN_OBJECT'> {
  return new OtaError('TOKEN_OBJECT', { uri: UPTANE_KEY.label, problem, remedy: PROVISION });
}
