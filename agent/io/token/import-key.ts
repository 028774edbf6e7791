/**
 * Bringing a key pair into the token that was made somewhere else.
 *
 * For devices that come from another agent and nothing else: whoever made the key may have kept it.
 */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import { CKK, CKO, type ObjectName } from './cryptoki.ts';
import { idOf } from './generations.ts';
import { destroyKey, inspectKey, type TokenKey } from './keys.ts';
import type { Token } from './token.ts';

interface Imported {
  readonly keyType: number;
  readonly secret: graphene.ITemplate;
  readonly open: graphene.ITemplate;
}

/**
 * Makes this the key pair of that name; what was there under the name is destroyed.
 *
 * It becomes sensitive and not extractable. That says nothing of the copies there may be, which is why
 * CKA_LOCAL, CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE stay false for ever.
 *
 * @throws OtaError TOKEN_OBJECT for a key of a type that we do not use
 * @throws OtaError TOKEN_FAILED if the token refuses to take a key
 */
export function importKey(token: Token, name: ObjectName, privateKey: KeyObject): TokenKey {
  const parts = partsOf(token, name, privateKey);
  destroyKey(token, name);
  const common = {
    token: true,
    keyType: parts.keyType,
    label: name.label,
    id: idOf(name),
  };
  const usage = { sign: true, decrypt: false, unwrap: false, derive: false };
  const secret = { private: token.settings.login === 'pin', sensitive: true, extractable: false };
  token.run(`import key ${name.label}`, (session) => {
    const create = (template: graphene.ITemplate): void => {
      session.lib.C_CreateObject(session.handle, graphene.Template.toPkcs11(template));
    };
    create({ class: CKO.PRIVATE_KEY, ...common, ...secret, ...usage, ...parts.secret });
    create({ class: CKO.PUBLIC_KEY, ...common, private: false, verify: true, ...parts.open });
  });
  const state = inspectKey(token, name);
  if (state.is === 'whole' && state.key.publicKey.equals(createPublicKey(privateKey))) {
    return state.key;
  }
  const cause = 'the token has another key than it was given';
  throw new OtaError('TOKEN_FAILED', { operation: `import key ${name.label}`, cause });
}

function partsOf(token: Token, name: ObjectName, privateKey: KeyObject): Imported {
  const jwk = privateKey.export({ format: 'jwk' });
  if (jwk.kty === 'EC' && jwk.crv === 'P-256') return ecParts(jwk);
  const { modulusLength } = privateKey.asymmetricKeyDetails ?? {};
  if (jwk.kty === 'RSA' && modulusLength === 2048) return rsaParts(jwk);
  throw new OtaError('TOKEN_OBJECT', {
    uri: `${token.uri} ${name.label}`,
    problem: `a key of type ${privateKey.asymmetricKeyType ?? ''} is not one of ec-p256, rsa-2048`,
    remedy: 'have one of those types made, or provision with a key that is made in the token',
  });
}

function ecParts(jwk: JsonWebKey): Imported {
  const paramsEC = Buffer.from('06082a8648ce3d030107', 'hex');
  const point = Buffer.concat([Buffer.from([0x04, 0x41, 0x04]), bytes(jwk.x), bytes(jwk.y)]);
  return {
    keyType: CKK.EC,
    secret: { paramsEC, value: bytes(jwk.d) },
    open: { paramsEC, pointEC: point },
  };
}

function rsaParts(jwk: JsonWebKey): Imported {
  const open = { modulus: bytes(jwk.n), publicExponent: bytes(jwk.e) };
  const factors = { prime1: bytes(jwk.p), prime2: bytes(jwk.q) };
  const exponents = { exp1: bytes(jwk.dp), exp2: bytes(jwk.dq), coefficient: bytes(jwk.qi) };
  return {
    keyType: CKK.RSA,
    secret: { ...open, privateExponent: bytes(jwk.d), ...factors, ...exponents },
    open,
  };
}

function bytes(text = ''): Buffer {
  return Buffer.from(text, 'base64url');
}
