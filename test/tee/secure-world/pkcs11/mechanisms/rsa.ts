/** RSA signatures and keys, and what is both signing and encryption: PKCS#11 v2.40 §2.1; RFC 8017. */
import { constants, privateEncrypt, publicDecrypt } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { sameBytes } from '../attributes.ts';
import { panicOr, TaFailure } from '../failure.ts';
import { attempt, privateKeyOf, publicKeyOf } from '../keys.ts';
import type { Mechanism, Signer, Start, Verifier } from '../processing.ts';
import { modulusBytes } from '../rsa-key.ts';
import { MD5, SHA1, SHA224, SHA256, SHA384, SHA512, type Hash } from './hashes.ts';
import { hashingSigner, hashingVerifier } from './hash-and-sign.ts';
import { requireNone } from './parameters.ts';
import { generateRsaPair } from './rsa-pair.ts';
import { RSA_PKCS_ENCRYPTION, RSA_X_509_ENCRYPTION } from './rsa-encryption.ts';

const { RSA_NO_PADDING, RSA_PKCS1_PADDING } = constants;
/** EMSA-PKCS1-v1_5 takes at least this much of the modulus: RFC 8017 §9.2. */
const PKCS1_OVERHEAD_BYTES = 11;
const keyTypes = [CKK.RSA];

export const RSA: readonly Mechanism[] = [
  { id: CKM.RSA_PKCS_KEY_PAIR_GEN, keyTypes, generatePair: generateRsaPair },
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
  const isExact = padding === RSA_NO_PADDING;
  const fits = (dataBytes: number, keyBytes: number): boolean =>
    isExact ? dataBytes === keyBytes : dataBytes <= keyBytes - overheadBytes;
  return {
    id,
    keyTypes,
    sign: ({ mode, parameter, key }: Start): Signer => {
      requireNone(parameter);
      const signatureBytes = modulusBytes(key.attributes);
      const privateKey = privateKeyOf(key);
      return {
        does: 'sign',
        signatureBytes,
        checkData: (bytes) => {
          const isWrong = isExact && !fits(bytes, signatureBytes);
          if (isWrong) throw new TaFailure(CKR.DATA_LEN_RANGE);
        },
        sign: (data) => {
          const isTooLong = !fits(data.byteLength, signatureBytes);
          if (isTooLong) panicOr(mode, CKR.DATA_LEN_RANGE, 'data too long for the RSA key');
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
          if (!fits(data.byteLength, signatureBytes)) return false;
          const recovered = attempt(CKR.SIGNATURE_INVALID, () =>
            publicDecrypt({ key: publicKey, padding }, signature),
          );
          return sameBytes(recovered, data);
        },
      };
    },
  };
}

function hashing(id: number, { name, bytes }: Hash): Mechanism {
  // RFC 8017 §9.2 note 1: all but the digest takes 19 bytes, 18 for MD5 and 15 for SHA-1.
  const digestInfoBytes = bytes + (name === 'md5' ? 18 : name === 'sha1' ? 15 : 19);
  return {
    id,
    keyTypes,
    sign: ({ mode, parameter, key }) => {
      requireNone(parameter);
      const signatureBytes = modulusBytes(key.attributes);
      const signer = hashingSigner(name, privateKeyOf(key), signatureBytes);
      const fits = digestInfoBytes <= signatureBytes - PKCS1_OVERHEAD_BYTES;
      const sign = (data: Uint8Array): Uint8Array =>
        fits
          ? signer.sign(data)
          : panicOr(mode, CKR.GENERAL_ERROR, 'an RSA key shorter than a hash');
      return { ...signer, sign };
    },
    verify: ({ parameter, key }) => {
      requireNone(parameter);
      return hashingVerifier(name, publicKeyOf(key), modulusBytes(key.attributes));
    },
  };
}
