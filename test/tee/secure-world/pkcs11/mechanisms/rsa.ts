/** RSA signatures and keys, and what is both signing and encryption: PKCS#11 v2.40 §2.1; RFC 8017. */
import { constants, generateKeyPairSync, privateEncrypt, publicDecrypt } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { sameBytes, type Attributes } from '../attributes.ts';
import { TaFailure } from '../failure.ts';
import { attempt, privateKeyOf, publicKeyOf } from '../keys.ts';
import type { Mechanism, Signer, Start, Verifier } from '../processing.ts';
import { modulusBytes } from '../rsa-key.ts';
import { MD5, SHA1, SHA224, SHA256, SHA384, SHA512, type Hash } from './hashes.ts';
import { hashingSigner, hashingVerifier } from './hash-and-sign.ts';
import { requireNone } from './parameters.ts';
import { RSA_PKCS_ENCRYPTION, RSA_X_509_ENCRYPTION } from './rsa-encryption.ts';

const { RSA_NO_PADDING, RSA_PKCS1_PADDING } = constants;
/** EMSA-PKCS1-v1_5 takes at least this much of the modulus: RFC 8017 §9.2. */
const PKCS1_OVERHEAD_BYTES = 11;
/** Below 512 bits OpenSSL makes no key, above 4096 OP-TEE makes none. */
const MIN_MODULUS_BITS = 512;
const MAX_MODULUS_BITS = 4096;
const DEFAULT_EXPONENT = Uint8Array.of(1, 0, 1);
const keyTypes = [CKK.RSA];

export const RSA: readonly Mechanism[] = [
  { id: CKM.RSA_PKCS_KEY_PAIR_GEN, keyTypes, generatePair },
  { ...raw(CKM.RSA_PKCS, RSA_PKCS1_PADDING, PKCS1_OVERHEAD_BYTES), ...RSA_PKCS_ENCRYPTION },
  { ...raw(CKM.RSA_X_509, RSA_NO_PADDING, 0), ...RSA_X_509_ENCRYPTION },
  hashing(CKM.MD5_RSA_PKCS, MD5),
  hashing(CKM.SHA1_RSA_PKCS, SHA1),
  hashing(CKM.SHA224_RSA_PKCS, SHA224),
  hashing(CKM.SHA256_RSA_PKCS, SHA256),
  hashing(CKM.SHA384_RSA_PKCS, SHA384),
  hashing(CKM.SHA512_RSA_PKCS, SHA512),
];

/** Signs what it is given: a DigestInfo by convention, anything in fact. */
function raw(id: number, padding: number, overheadBytes: number): Mechanism {
  const requireLength = (data: Uint8Array, keyBytes: number): void => {
    const isExact = padding !== RSA_NO_PADDING || data.byteLength === keyBytes;
    if (!isExact || data.byteLength > keyBytes - overheadBytes) {
      throw new TaFailure(CKR.DATA_LEN_RANGE);
    }
  };
  return {
    id,
    keyTypes,
    sign: ({ parameter, key }: Start): Signer => {
      requireNone(parameter);
      const signatureBytes = modulusBytes(key.attributes);
      const privateKey = privateKeyOf(key);
      return {
        does: 'sign',
        signatureBytes,
        sign: (data) => {
          requireLength(data, signatureBytes);
          return attempt(CKR.DATA_INVALID, () =>
            privateEncrypt({ key: privateKey, padding }, data),
          );
        },
      };
    },
    verify: ({ parameter, key }: Start): Verifier => {
      requireNone(parameter);
      const signatureBytes = modulusBytes(key.attributes);
      const publicKey = publicKeyOf(key);
      return {
        does: 'verify',
        signatureBytes,
        verify: (data, signature) => {
          requireLength(data, signatureBytes);
          const recovered = attempt(CKR.SIGNATURE_INVALID, () =>
            publicDecrypt({ key: publicKey, padding }, signature),
          );
          return sameBytes(recovered, data);
        },
      };
    },
  };
}

function hashing(id: number, { name }: Hash): Mechanism {
  return {
    id,
    keyTypes,
    sign: ({ parameter, key }) => {
      requireNone(parameter);
      return hashingSigner(name, privateKeyOf(key), modulusBytes(key.attributes));
    },
    verify: ({ parameter, key }) => {
      requireNone(parameter);
      return hashingVerifier(name, publicKeyOf(key), modulusBytes(key.attributes));
    },
  };
}

function generatePair(publicKey: Attributes, privateKey: Attributes): void {
  const modulusLength = publicKey.word(CKA.MODULUS_BITS);
  if (modulusLength === undefined) throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
  if (modulusLength < MIN_MODULUS_BITS || modulusLength > MAX_MODULUS_BITS) {
    throw new TaFailure(CKR.GENERAL_ERROR);
  }
  const publicExponent = exponentOf(publicKey);
  const { privateKey: made } = attempt(CKR.GENERAL_ERROR, () =>
    generateKeyPairSync('rsa', { modulusLength, publicExponent }),
  );
  const jwk = made.export({ format: 'jwk' });
  const take = (to: Attributes, id: number, value: string | undefined): void => {
    if (value === undefined) throw new Error('an RSA private JWK has every number');
    to.set(id, Buffer.from(value, 'base64url'));
  };
  for (const key of [publicKey, privateKey]) {
    take(key, CKA.MODULUS, jwk.n);
    take(key, CKA.PUBLIC_EXPONENT, jwk.e);
  }
  take(privateKey, CKA.PRIVATE_EXPONENT, jwk.d);
  take(privateKey, CKA.PRIME_1, jwk.p);
  take(privateKey, CKA.PRIME_2, jwk.q);
  take(privateKey, CKA.EXPONENT_1, jwk.dp);
  take(privateKey, CKA.EXPONENT_2, jwk.dq);
  take(privateKey, CKA.COEFFICIENT, jwk.qi);
}

function exponentOf(publicKey: Attributes): number {
  const given = publicKey.get(CKA.PUBLIC_EXPONENT);
  const bytes = given === undefined || given.byteLength === 0 ? DEFAULT_EXPONENT : given;
  const exponent = Number(BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
  const isUsable = exponent > 1 && exponent % 2 === 1 && exponent <= 0xffff_ffff;
  if (!isUsable) throw new TaFailure(CKR.ATTRIBUTE_VALUE_INVALID);
  return exponent;
}
