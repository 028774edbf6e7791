/**
 * Bringing a key pair into the token that was made somewhere else.
 *
 * For devices that come from another agent and nothing else: whoever made the key may have kept it.
 */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import { CKO, type ObjectName } from './cryptoki.ts';
import { idOf } from './generations.ts';
import { demandOwnHandles } from './handles.ts';
import { KEY_TYPES, type KeyType } from './key-types.ts';
import { countMadeKeys, destroyKey, inspectKey, type TokenKey } from './keys.ts';
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
  const secret = { private: token.settings.login !== 'none', sensitive: true, extractable: false };
  const operation = `import key ${name.label}`;
  token.run(operation, (session) => {
    const create = (template: graphene.ITemplate): void => {
      session.lib.C_CreateObject(session.handle, graphene.Template.toPkcs11(template));
    };
    create({ class: CKO.PRIVATE_KEY, ...common, ...secret, ...usage, ...parts.secret });
    create({ class: CKO.PUBLIC_KEY, ...common, private: false, verify: true, ...parts.open });
    demandOwnHandles(session, operation);
  });
  countMadeKeys();
  const state = inspectKey(token, name);
  if (state.is === 'whole' && state.key.publicKey.equals(createPublicKey(privateKey))) {
    return state.key;
  }
  const cause = 'the token has another key than it was given';
  throw new OtaError('TOKEN_FAILED', { operation, cause });
}

/** Names of curves as OpenSSL has them; the bytes are OCTET STRING, its length, and "uncompressed". */
const CURVES: ReadonlyMap<string | undefined, { type: KeyType; pointHead: string }> = new Map([
  ['prime256v1', { type: 'ec-p256', pointHead: '044104' }],
  ['secp384r1', { type: 'ec-p384', pointHead: '046104' }],
]);
const RSA: ReadonlyMap<number | undefined, KeyType> = new Map(
  (['rsa-2048', 'rsa-3072', 'rsa-4096'] as const).map((type) => [KEY_TYPES[type].sizeBits, type]),
);

function partsOf(token: Token, name: ObjectName, privateKey: KeyObject): Imported {
  const { modulusLength, namedCurve } = privateKey.asymmetricKeyDetails ?? {};
  const jwk = privateKey.export({ format: 'jwk' });
  const curve = CURVES.get(namedCurve);
  if (curve !== undefined) return ecParts(jwk, curve);
  const type = privateKey.asymmetricKeyType === 'rsa' ? RSA.get(modulusLength) : undefined;
  if (type !== undefined) return rsaParts(jwk, KEY_TYPES[type].keyType);
  const found = [privateKey.asymmetricKeyType, namedCurve, modulusLength].filter(Boolean).join(' ');
  const possible = [...[...CURVES.values()].map((one) => one.type), ...RSA.values()].join(', ');
  throw new OtaError('TOKEN_OBJECT', {
    uri: `${token.uri} ${name.label}`,
    problem: `a key of type ${found} is not one of ${possible}`,
    remedy: 'have one of those types made, or provision with a key that is made in the token',
  });
}

function ecParts(
  jwk: JsonWebKey,
  { type, pointHead }: { readonly type: KeyType; readonly pointHead: string },
): Imported {
  const { keyType, forms } = KEY_TYPES[type];
  const point = Buffer.concat([Buffer.from(pointHead, 'hex'), bytes(jwk.x), bytes(jwk.y)]);
  return {
    keyType,
    secret: { ...forms[0], value: bytes(jwk.d) },
    open: { ...forms[0], pointEC: point },
  };
}

function rsaParts(jwk: JsonWebKey, keyType: number): Imported {
  const open = { modulus: bytes(jwk.n), publicExponent: bytes(jwk.e) };
  const factors = { prime1: bytes(jwk.p), prime2: bytes(jwk.q) };
  const exponents = { exp1: bytes(jwk.dp), exp2: bytes(jwk.dq), coefficient: bytes(jwk.qi) };
  const secret = { ...open, privateExponent: bytes(jwk.d), ...factors, ...exponents };
  return { keyType, secret, open };
}

function bytes(text = ''): Buffer {
  return Buffer.from(text, 'base64url');
}
