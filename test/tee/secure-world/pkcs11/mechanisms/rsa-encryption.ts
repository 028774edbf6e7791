/** RSA encryption: PKCS#11 v2.40 §2.1.6 to §2.1.8; RFC 8017 §7. */
import { constants, privateDecrypt, publicEncrypt, type KeyObject } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { TaFailure } from '../failure.ts';
import type { Mode } from '../mode.ts';
import { attempt, padded, privateKeyOf, publicKeyOf } from '../keys.ts';
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
  ...functions(({ parameter, mode }) => readOaep(parameter, mode)),
};

/**
 * CK_RSA_PKCS_OAEP_PARAMS: hash, mask generation function, source, label.
 *
 * A client without a label may say that there is no source (PKCS#11 v2.40 §2.1.8); OP-TEE wants one.
 *
 * @throws TaFailure FUNCTION_FAILED for a combination OP-TEE does not have: it reports all so
 */
export function readOaep(parameter: Uint8Array, mode: Mode): Encryption {
  return readParameter(parameter, CKR.FUNCTION_FAILED, (reader) => {
    const [hashMechanism, mgf, source] = [reader.u32(), reader.u32(), reader.u32()];
    const oaepLabel = Uint8Array.from(reader.counted());
    const hash = HASHES.find(({ mechanism }) => mechanism === hashMechanism);
    const isSourced =
      source === DATA_SPECIFIED ||
      (mode === 'default' && source === 0 && oaepLabel.byteLength === 0);
    if (hash?.mgf !== mgf || mgf === 0 || !isSourced) {
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
      const encryption = read(start);
      const key = publicKeyOf(start.key);
      const keyBytes = modulusBytes(start.key.attributes);
      return {
        does: 'encrypt',
        outputBytes: (_step, inputBytes) => {
          requireNumber(encryption, CKR.DATA_LEN_RANGE, inputBytes, keyBytes);
          return keyBytes;
        },
        finish: (data) => {
          const { form, overheadBytes } = encryption;
          if (data.byteLength > keyBytes - overheadBytes) throw new TaFailure(CKR.DATA_LEN_RANGE);
          const block = form.padding === RSA_NO_PADDING ? padded(data, keyBytes) : data;
          const text = attempt(CKR.DATA_LEN_RANGE, () => publicEncrypt({ key, ...form }, block));
          return asNumber(start, encryption, text);
        },
      };
    },
    decrypt: (start): Cipher => {
      const encryption = read(start);
      const key = privateKeyOf(start.key);
      const keyBytes = modulusBytes(start.key.attributes);
      const isRaw = encryption.form.padding === RSA_NO_PADDING;
      return {
        does: 'decrypt',
        outputBytes: (_step, inputBytes) => {
          requireNumber(encryption, CKR.ENCRYPTED_DATA_LEN_RANGE, inputBytes, keyBytes);
          return isRaw ? keyBytes : 'when finished';
        },
        finish: (data) => {
          const isRightSize = isRaw ? data.byteLength <= keyBytes : data.byteLength === keyBytes;
          if (!isRightSize) throw new TaFailure(CKR.ENCRYPTED_DATA_LEN_RANGE);
          const text = decrypt(key, encryption.form, isRaw ? padded(data, keyBytes) : data);
          return asNumber(start, encryption, text);
        },
      };
    },
  };
}

/** Raw RSA takes a number of up to the modulus' length, and says so before it asks for room. */
function requireNumber(
  { form }: Encryption,
  rv: number,
  inputBytes: number,
  keyBytes: number,
): void {
  if (form.padding === RSA_NO_PADDING && inputBytes > keyBytes) throw new TaFailure(rv);
}

/** OP-TEE says of all that is wrong with an encrypted block that its length is. */
function decrypt(key: KeyObject, form: Padding, block: Uint8Array): Uint8Array {
  const isPkcs1 = form.padding === RSA_PKCS1_PADDING;
  const options = isPkcs1 ? { key, padding: RSA_NO_PADDING } : { key, ...form };
  const text = attempt(CKR.ENCRYPTED_DATA_LEN_RANGE, () => privateDecrypt(options, block));
  return isPkcs1 ? unpadded(text) : text;
}

/**
 * Takes RSAES-PKCS1-v1_5 padding off (RFC 8017 §7.2.2 step 3).
 *
 * OpenSSL returns invented data for wrong padding, against Bleichenbacher's attack. OP-TEE says that
 * it is wrong, so its clients can be attacked, and tested, here as there.
 */
function unpadded(block: Uint8Array): Uint8Array {
  const MIN_PADDING_BYTES = 8;
  const end = block.indexOf(0, 2);
  const isRight = block[0] === 0 && block[1] === 2 && end >= 2 + MIN_PADDING_BYTES;
  if (!isRight) throw new TaFailure(CKR.ENCRYPTED_DATA_LEN_RANGE);
  return block.subarray(end + 1);
}

/** OP-TEE gives the result of raw RSA as a number: without leading zeros. PKCS#11 wants the block. */
function asNumber({ mode }: Start, { form }: Encryption, block: Uint8Array): Uint8Array {
  if (mode === 'default' || form.padding !== RSA_NO_PADDING) return block;
  const start = block.findIndex((byte) => byte !== 0);
  return block.subarray(start === -1 ? block.byteLength - 1 : start);
}
