/** Key pairs: made inside the token, and proved to have been. */
import type { KeyObject } from 'node:crypto';

import graphene from 'graphene-pk11';

import { isOtaError, OtaError } from '../../errors.ts';
import { CKM, CKO, type ObjectName } from './cryptoki.ts';
import { idOf, searchFor } from './generations.ts';
import { demandOwnHandles } from './handles.ts';
import { checkKeyAttributes } from './key-attributes.ts';
import { KEY_TYPES, type KeyType } from './key-types.ts';
import { unsupported } from './key-review.ts';
import { readPublicKey } from './public-key.ts';
import { isCkr } from './token-errors.ts';
import { mechanismName, type Token } from './token.ts';

/** A key pair as far as the outside may know it. */
export interface TokenKey {
  readonly type: KeyType;
  readonly publicKey: KeyObject;
}

/** `broken`: objects of that name that do not make exactly one pair, as after a power cut. */
export type KeyState =
  | { readonly is: 'absent' }
  | { readonly is: 'whole'; readonly key: TokenKey }
  | { readonly is: 'broken'; readonly problem: string };

/** What the token has under that name. */
export function inspectKey(token: Token, name: ObjectName): KeyState {
  return token.run(`look for key ${name.label}`, (session): KeyState => {
    const privates = session.find({ class: CKO.PRIVATE_KEY, ...searchFor(name) });
    const publics = session.find({ class: CKO.PUBLIC_KEY, ...searchFor(name) });
    if (privates.length + publics.length === 0) return { is: 'absent' };
    if (privates.length !== 1 || publics.length !== 1) {
      const counts = `${String(privates.length)} private and ${String(publics.length)} public`;
      return { is: 'broken', problem: `${counts} keys with label "${name.label}"` };
    }
    const key = readWholly(publics.items(0));
    if (key === undefined) return { is: 'broken', problem: 'the public key is not readable' };
    return { is: 'whole', key };
  });
}

/** A key does one thing: what it signs can never be mistaken for what it agrees on. */
export type KeyPurpose = 'sign' | 'agree' | 'decrypt';

/**
 * Makes a key pair inside the token and reads back that it can never leave.
 *
 * @throws OtaError TOKEN_MECHANISM, with the types that would work, if it cannot make such keys
 * @throws OtaError TOKEN_KEY_UNSAFE, after which the pair is gone again
 */
export function generateKey(
  token: Token,
  name: ObjectName,
  type: KeyType,
  purpose: KeyPurpose = 'sign',
): TokenKey {
  const { generation: mechanism, keyType, forms } = KEY_TYPES[type];
  if (!token.mechanisms().has(mechanism)) throw unsupported(token, type, mechanismName(mechanism));
  const common = { token: true, keyType, label: name.label, id: idOf(name) };
  const usage = {
    sign: purpose === 'sign',
    decrypt: purpose === 'decrypt' || (purpose === 'sign' && mustDecryptToSign(token, type)),
    unwrap: false,
    derive: purpose === 'agree',
  };
  const secret = { sensitive: true, extractable: false };
  // With `login = "none"` nobody logs in, and a private object would be out of reach.
  const visible = { private: token.settings.login !== 'none' };
  const operation = `generate key ${name.label}`;
  const generate = (session: graphene.Session): void => {
    tryForms(forms, (form) => {
      // graphene's own generateKeyPair overrides CKA_PRIVATE. There is no CKA_VERIFY: tpm2-pkcs11 takes
      // it for a contradiction to a private key that does not decrypt.
      session.lib.C_GenerateKeyPair(
        session.handle,
        { mechanism },
        graphene.Template.toPkcs11({
          class: CKO.PUBLIC_KEY,
          ...common,
          private: false,
          ...(purpose === 'agree' ? { derive: true } : {}),
          ...form,
        }),
        graphene.Template.toPkcs11({
          class: CKO.PRIVATE_KEY,
          ...common,
          ...visible,
          ...secret,
          ...usage,
        }),
      );
    });
    demandOwnHandles(session, operation);
  };
  try {
    token.run(operation, generate);
    madeKeys += 2;
  } catch (error) {
    throw isTypeRefused(error) ? unsupported(token, type, `key pair ${type}`, error) : error;
  }
  const state = inspectKey(token, name);
  if (state.is !== 'whole') {
    const cause = `the generated key is ${state.is}`;
    throw new OtaError('TOKEN_FAILED', { operation, cause });
  }
  try {
    checkKeyAttributes(token, name);
  } catch (error) {
    destroyKey(token, name);
    throw error;
  }
  return state.key;
}

let madeKeys = 0;
let destroyedKeys = 0;

/** A pair that was brought into the token is one more that libp11 may not know. */
export function countMadeKeys(): void {
  madeKeys += 2;
}

/** How many key objects this process has made or destroyed: libp11 may know of none of it. */
export function changedKeyCount(): number {
  return madeKeys + destroyedKeys;
}

/** How many key objects this process has destroyed: libp11 may still know them. */
export function destroyedKeyCount(): number {
  return destroyedKeys;
}

/** Destroys every key object of that name. */
export function destroyKey(token: Token, name: ObjectName): void {
  const operation = `destroy key ${name.label}`;
  token.run(operation, (session) => {
    demandOwnHandles(session, operation);
    for (const type of [CKO.PRIVATE_KEY, CKO.PUBLIC_KEY]) {
      destroyedKeys += session.destroy({ class: type, ...searchFor(name) });
    }
  });
}

function tryForms(
  forms: readonly graphene.ITemplate[],
  generate: (form: graphene.ITemplate) => void,
): void {
  for (const [index, form] of forms.entries()) {
    try {
      generate(form);
      return;
    } catch (error) {
      if (index === forms.length - 1 || !isFormRefused(error)) throw error;
    }
  }
}

/**
 * A TPM does the bare RSA operation, which PSS is then made of, only with a key that may decrypt.
 *
 * Nobody encrypts to our keys, so there is nothing that it could decrypt.
 */
function mustDecryptToSign(token: Token, type: KeyType): boolean {
  if (!type.startsWith('rsa-')) return false;
  const offered = token.mechanisms();
  return ![CKM.SHA256_RSA_PKCS_PSS, CKM.RSA_PKCS_PSS].some((mechanism) => offered.has(mechanism));
}

/** What a token says to a curve or a size that it does not have, below a mechanism that it has. */
function isTypeRefused(error: unknown): error is OtaError {
  if (!isOtaError(error) || error.code !== 'TOKEN_FAILED') return false;
  return isCkr(
    error.cause,
    'ATTRIBUTE_VALUE_INVALID',
    'CURVE_NOT_SUPPORTED',
    'DOMAIN_PARAMS_INVALID',
    'KEY_SIZE_RANGE',
  );
}

function isFormRefused(error: unknown): boolean {
  return isCkr(
    error,
    'ATTRIBUTE_TYPE_INVALID',
    'ATTRIBUTE_VALUE_INVALID',
    'CURVE_NOT_SUPPORTED',
    'FUNCTION_FAILED',
    'GENERAL_ERROR',
    'TEMPLATE_INCONSISTENT',
  );
}

/** A power cut can leave an object whose attributes are not all there. */
function readWholly(object: graphene.SessionObject): TokenKey | undefined {
  try {
    return readPublicKey(object);
  } catch (error) {
    if (isCkr(error, 'ATTRIBUTE_TYPE_INVALID', 'ATTRIBUTE_VALUE_INVALID')) return undefined;
    throw error;
  }
}
