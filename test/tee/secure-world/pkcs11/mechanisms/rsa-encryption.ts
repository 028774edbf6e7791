/** RSA encryption: PKCS#11 v2.40 §2.1.6 to §2.1.8; RFC 8017 §7. */
import { constants, privateDecrypt, publicEncrypt } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { TaFailure } from '../failure.ts';
import { attempt, privateKeyOf, publicKeyOf } from '../keys.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { modulusBytes } from '../rsa-key.ts';
import { HASHES } from './hashes.ts';
import { readParameter, requireNone } from './parameters.ts';

const { RSA_NO_PADDING, RSA_PKCS1_OAEP_PADDING, RSA_PKCS1_PADDING } = constants;
/** CKZ_DATA_SPECIFIED: the label is in the parameters, empty or not. */
const DATA_SPECIFIED = 1;

/** In node:crypto's words. */
export interface Padding {
  readonly padding: number;
  readonly oaepHash?: string;
  readonly oaepLabel?: Uint8Array;
}

interface Encryption {
  readonly form: Padding;
  /** Bytes of the modulus that are not data. */
  readonly overheadBytes: number;
}

/** The two functions that `rsa.ts` adds to signing for CKM_RSA_PKCS and CKM_RSA_X_509. */
export const RSA_PKCS_ENCRYPTION = functions(({ parameter }) => {
  requireNone(parameter);
  return { form: { padding: RSA_PKCS1_PADDING }, overheadBytes: 11 };
});
export const RSA_X_509_ENCRYPTION = functions(({ parameter }) => {
  requireNone(parameter);
  return { form: { padding: RSA_NO_PADDING }, overheadBytes: 0 };
});

export const RSA_OAEP: Mechanism = {
  id: CKM.RSA_PKCS_OAEP,
  keyTypes: [CKK.RSA],
  ...functions(({ parameter }) => readOaep(parameter)),
};

/**
 * CK_RSA_PKCS_OAEP_PARAMS: hash, mask generation function, source, label.
 *
 * @throws TaFailure FUNCTION_FAILED for a combination OP-TEE does not have: it reports all so
 */
export function readOaep(parameter: Uint8Array): Encryption {
  return readParameter(parameter, (reader) => {
    const [hashMechanism, mgf, source] = [reader.u32(), reader.u32(), reader.u32()];
    const oaepLabel = Uint8Array.from(reader.counted());
    const hash = HASHES.find(({ mechanism }) => mechanism === hashMechanism);
    if (hash?.mgf !== mgf || mgf === 0 || source !== DATA_SPECIFIED) {
      throw new TaFailure(CKR.FUNCTION_FAILED);
    }
    const form = { padding: RSA_PKCS1_OAEP_PADDING, oaepHash: hash.name, oaepLabel };
    return { form, overheadBytes: 2 * hash.bytes + 2 };
  });
}

function functions(
  read: (start: Start) => Encryption,
): Required<Pick<Mechanism, 'encrypt' | 'decrypt'>> {
  return {
    encrypt: (start): Cipher => {
      const { form, overheadBytes } = read(start);
      const key = publicKeyOf(start.key);
      const keyBytes = modulusBytes(start.key.attributes);
      return {
        does: 'encrypt',
        outputBytes: () => keyBytes,
        finish: (data) => {
          if (data.byteLength > keyBytes - overheadBytes) throw new TaFailure(CKR.DATA_LEN_RANGE);
          const isRaw = form.padding === RSA_NO_PADDING;
          const block = isRaw
            ? Buffer.concat([Buffer.alloc(keyBytes - data.byteLength), data])
            : data;
          return attempt(CKR.DATA_INVALID, () => publicEncrypt({ key, ...form }, block));
        },
      };
    },
    decrypt: (start): Cipher => {
      const { form } = read(start);
      const key = privateKeyOf(start.key);
      const keyBytes = modulusBytes(start.key.attributes);
      return {
        does: 'decrypt',
        outputBytes: 'when finished',
        finish: (data) => {
          if (data.byteLength !== keyBytes) throw new TaFailure(CKR.ENCRYPTED_DATA_LEN_RANGE);
          return attempt(CKR.ENCRYPTED_DATA_INVALID, () => privateDecrypt({ key, ...form }, data));
        },
      };
    },
  };
}
