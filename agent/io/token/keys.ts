/** Key pairs: made inside the token, and proved to have been. */
import type { KeyObject } from 'node:crypto';

import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import { CKK, CKM, CKO, type KeyType, type ObjectName } from './cryptoki.ts';
import { idOf, searchFor } from './generations.ts';
import { checkKeyAttributes } from './key-attributes.ts';
import { readPublicKey } from './public-key.ts';
import { isCkr } from './token-errors.ts';
import type { Token } from './token.ts';

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

interface Generation {
  readonly mechanism: number;
  readonly keyType: number;
  /** Attributes of the public key; a token refuses the forms it does not know, so in order. */
  readonly forms: readonly graphene.ITemplate[];
}

const GENERATION: Readonly<Record<KeyType, Generation>> = {
  'rsa-2048': {
    mechanism: CKM.RSA_PKCS_KEY_PAIR_GEN,
    keyType: CKK.RSA,
    forms: [{ modulusBits: 2048, publicExponent: Buffer.from([1, 0, 1]) }],
  },
  'ec-p256': {
    mechanism: CKM.EC_KEY_PAIR_GEN,
    keyType: CKK.EC,
    forms: [{ paramsEC: Buffer.from('06082a8648ce3d030107', 'hex') }],
  },
  // PrintableString "edwards25519" (PKCS#11 v3.0), which OP-TEE wants; the OID of RFC 8410 (v3.1).
  ed25519: {
    mechanism: CKM.EC_EDWARDS_KEY_PAIR_GEN,
    keyType: CKK.EC_EDWARDS,
    forms: [
      { paramsEC: Buffer.from('130c656477617264733235353139', 'hex') },
      { paramsEC: Buffer.from('06032b6570', 'hex') },
    ],
  },
};

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
export type KeyPurpose = 'sign' | 'agree';

/**
 * Makes a key pair inside the token and reads back that it can never leave.
 *
 * @throws OtaError TOKEN_MECHANISM if the token cannot make such keys
 * @throws OtaError TOKEN_KEY_UNSAFE, after which the pair is gone again
 */
export function generateKey(
  token: Token,
  name: ObjectName,
  type: KeyType,
  purpose: KeyPurpose = 'sign',
): TokenKey {
  const { mechanism, keyType, forms } = GENERATION[type];
  token.chooseMechanism(mechanism);
  const common = { token: true, keyType, label: name.label, id: idOf(name) };
  const usage = {
    sign: purpose === 'sign',
    decrypt: false,
    unwrap: false,
    derive: purpose === 'agree',
  };
  const secret = { sensitive: true, extractable: false };
  // With `login = "none"` nobody logs in, and a private object would be out of reach.
  const visible = { private: token.settings.login === 'pin' };
  token.run(`generate key ${name.label}`, (session) => {
    tryForms(forms, (form) => {
      // graphene's own generateKeyPair overrides CKA_PRIVATE.
      session.lib.C_GenerateKeyPair(
        session.handle,
        { mechanism },
        graphene.Template.toPkcs11({
          class: CKO.PUBLIC_KEY,
          ...common,
          private: false,
          ...(purpose === 'sign' ? { verify: true } : { derive: true }),
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
  });
  const state = inspectKey(token, name);
  if (state.is !== 'whole') {
    const cause = `the generated key is ${state.is}`;
    throw new OtaError('TOKEN_FAILED', { operation: `generate key ${name.label}`, cause });
  }
  try {
    checkKeyAttributes(token, name);
  } catch (error) {
    destroyKey(token, name);
    throw error;
  }
  return state.key;
}

let destroyedKeys = 0;

/** How many key objects this process has destroyed: libp11 may still know them. */
export function destroyedKeyCount(): number {
  return destroyedKeys;
}

/** Destroys every key object of that name. */
export function destroyKey(token: Token, name: ObjectName): void {
  token.run(`destroy key ${name.label}`, (session) => {
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
