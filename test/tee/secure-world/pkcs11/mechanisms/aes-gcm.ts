/** AES-GCM: PKCS#11 v2.40 §2.11. */
import { createCipheriv, createDecipheriv, type CipherGCMTypes } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { TaFailure } from '../failure.ts';
import { attempt } from '../keys.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { aesKey } from './aes.ts';
import { readParameter } from './parameters.ts';

const MAX_VECTOR_BYTES = 256;
/** NIST SP 800-38D §5.2.1.2, and no others. */
const TAG_BYTES: readonly number[] = [4, 8, 12, 13, 14, 15, 16];
/** What is decrypted waits for its tag, so it is bounded: the same as one frame of the wire. */
const MAX_WITHHELD_BYTES = 16 * 1024 * 1024;

export const AES_GCM: Mechanism = {
  id: CKM.AES_GCM,
  keyTypes: [CKK.AES],
  encrypt,
  decrypt,
  wrap: (start, key) => encrypt(start).finish(key),
  unwrap: (start, wrapped) => decrypt(start).finish(wrapped),
};

interface Form {
  readonly key: Uint8Array;
  readonly name: CipherGCMTypes;
  readonly vector: Uint8Array;
  readonly aad: Uint8Array;
  readonly tagBytes: number;
}

function encrypt(start: Start): Cipher {
  const { name, key, vector, aad, tagBytes } = readForm(start);
  const state = createCipheriv(name, key, vector, { authTagLength: tagBytes }).setAAD(aad);
  return {
    does: 'encrypt',
    outputBytes: (step, inputBytes) => inputBytes + (step === 'last' ? tagBytes : 0),
    update: (data) => state.update(data),
    finish: (data) => {
      const text = attempt(CKR.GENERAL_ERROR, () =>
        Buffer.concat([state.update(data), state.final()]),
      );
      return Buffer.concat([text, state.getAuthTag()]);
    },
  };
}

/** Nothing is handed out before the tag is verified: the text of an attacker is no text. */
function decrypt(start: Start): Cipher {
  const { name, key, vector, aad, tagBytes } = readForm(start);
  const parts: Uint8Array[] = [];
  let heldBytes = 0;
  return {
    does: 'decrypt',
    outputBytes: (step, inputBytes) =>
      step === 'update' ? 0 : Math.max(0, heldBytes + inputBytes - tagBytes),
    update: (data) => {
      heldBytes += data.byteLength;
      if (heldBytes > MAX_WITHHELD_BYTES) throw new TaFailure(CKR.DEVICE_MEMORY);
      parts.push(Uint8Array.from(data));
      return new Uint8Array();
    },
    finish: (data) => {
      const all = Buffer.concat([...parts, data]);
      if (all.byteLength < tagBytes) throw new TaFailure(CKR.ENCRYPTED_DATA_LEN_RANGE);
      const end = all.byteLength - tagBytes;
      const state = createDecipheriv(name, key, vector, { authTagLength: tagBytes });
      state.setAAD(aad).setAuthTag(all.subarray(end));
      const text = state.update(all.subarray(0, end));
      // OP-TEE's name for a wrong tag; PKCS#11 would say ENCRYPTED_DATA_INVALID.
      return attempt(CKR.SIGNATURE_INVALID, () => Buffer.concat([text, state.final()]));
    },
  };
}

/** CK_GCM_PARAMS as libckteec sends it: vector, additional data, bits of the tag. */
function readForm(start: Start): Form {
  const key = aesKey(start);
  return readParameter(start.parameter, (reader) => {
    const vector = Uint8Array.from(reader.counted());
    const aad = Uint8Array.from(reader.counted());
    const tagBits = reader.u32();
    const isRight =
      vector.byteLength > 0 &&
      vector.byteLength <= MAX_VECTOR_BYTES &&
      TAG_BYTES.includes(tagBits / 8);
    if (!isRight) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
    const name: CipherGCMTypes =
      key.byteLength === 16 ? 'aes-128-gcm' : key.byteLength === 24 ? 'aes-192-gcm' : 'aes-256-gcm';
    return { key, name, vector, aad, tagBytes: tagBits / 8 };
  });
}
