/** What a private key that stays in the token does for what is encrypted to it: ECDH, or RSA-OAEP. */
import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import { CKA, CKK, CKM, CKO, type ObjectName } from './cryptoki.ts';
import { findPrivateKey } from './key-attributes.ts';
import { isCkr } from './token-errors.ts';
import type { Token } from './token.ts';

const SECRET_BYTES = 32;

/**
 * The shared secret of a key of the token and of somebody's public key, without a KDF.
 *
 * The secret leaves the token, because the KDF of JWE is none that PKCS#11 has; the key does not.
 *
 * Source: PKCS#11 v2.40 §2.3.8 (CKM_ECDH1_DERIVE, CKD_NULL).
 *
 * @param point - 04‖X‖Y, 65 bytes, known to be on the curve
 * @returns the x coordinate, 32 bytes
 * @throws OtaError TOKEN_MECHANISM if the token cannot agree on keys
 * @throws OtaError NOT_PROVISIONED if it has no such key
 */
export function agreeInToken(token: Token, name: ObjectName, point: Uint8Array): Buffer {
  const mechanism = token.chooseMechanism(CKM.ECDH1_DERIVE);
  const bare = Buffer.from(point);
  // The point, or the DER OCTET STRING that holds it: OP-TEE wants the one, older TPM2-PKCS#11 the other.
  const forms = [bare, Buffer.concat([Buffer.of(0x04, bare.byteLength), bare])];
  return token.run(`agree with ${name.label}`, (session) => {
    const key = findPrivateKey(session, token, name).toType<graphene.PrivateKey>();
    return firstThatIsTaken(forms, (form) => derive(session, mechanism, key, form));
  });
}

function derive(
  session: graphene.Session,
  mechanism: number,
  key: graphene.PrivateKey,
  point: Buffer,
): Buffer {
  const params = new graphene.EcdhParams(graphene.EcKdf.NULL, null, point);
  const secret = session.deriveKey({ name: mechanism, params }, key, {
    class: CKO.SECRET_KEY,
    keyType: CKK.GENERIC_SECRET,
    valueLen: SECRET_BYTES,
    token: false,
    private: false,
    sensitive: false,
    extractable: true,
  });
  try {
    const value = secret.getAttribute(CKA.VALUE);
    if (value.byteLength === SECRET_BYTES) return value;
    const cause = `the shared secret has ${String(value.byteLength)} bytes`;
    throw new OtaError('TOKEN_FAILED', { operation: 'C_DeriveKey', cause });
  } finally {
    secret.destroy();
  }
}

function firstThatIsTaken(forms: readonly Buffer[], act: (form: Buffer) => Buffer): Buffer {
  for (const [index, form] of forms.entries()) {
    try {
      return act(form);
    } catch (error) {
      if (index === forms.length - 1 || !isCkr(error, ...FORM_REFUSED)) throw error;
    }
  }
  throw new OtaError('BUG', { what: 'a point has no form' });
}

const FORM_REFUSED = ['ARGUMENTS_BAD', 'MECHANISM_PARAM_INVALID', 'GENERAL_ERROR'] as const;

/**
 * What was encrypted to a key of the token with OAEP, SHA-1 and MGF1 with SHA-1: `RSA-OAEP` of JWE.
 *
 * With SHA-256 few tokens do it (SoftHSM2 and p11-kit do not), and OAEP needs no collision resistance.
 *
 * Source: PKCS#11 v2.40 §2.1.8 (CKM_RSA_PKCS_OAEP); RFC 7518 §4.3.
 *
 * @returns `undefined` when it was not encrypted to that key
 * @throws OtaError TOKEN_MECHANISM, NOT_PROVISIONED, TOKEN_FAILED
 */
export function decryptInToken(
  token: Token,
  name: ObjectName,
  ciphertext: Uint8Array,
): Buffer | undefined {
  const mechanism = token.chooseMechanism(CKM.RSA_PKCS_OAEP);
  const params = new graphene.RsaOaepParams(CKM.SHA_1, graphene.RsaMgf.MGF1_SHA1);
  const input = Buffer.from(ciphertext);
  return token.run(`decrypt with ${name.label}`, (session) => {
    const key = findPrivateKey(session, token, name).toType<graphene.Key>();
    try {
      return session
        .createDecipher({ name: mechanism, params }, key)
        .once(input, Buffer.alloc(512));
    } catch (error) {
      if (isCkr(error, ...NOT_OURS)) return undefined;
      throw error;
    }
  });
}

/** OP-TEE and SoftHSM2 say GENERAL_ERROR to a padding that is wrong, TPM2-PKCS#11 FUNCTION_FAILED. */
const NOT_OURS = [
  'ENCRYPTED_DATA_INVALID',
  'ENCRYPTED_DATA_LEN_RANGE',
  'FUNCTION_FAILED',
  'GENERAL_ERROR',
] as const;
