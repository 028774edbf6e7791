/** AES in its block and counter modes: PKCS#11 v2.40 §2.8, §2.9 and §2.12. */
import { createCipheriv, createDecipheriv } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { TaFailure } from '../failure.ts';
import { attempt, required } from '../keys.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { readParameter, requireNone } from './parameters.ts';

export const AES_BLOCK_BYTES = 16;
/**
 * Bits of the counter block that count. OP-TEE takes 1 alone and counts with all 128; callers who
 * mean what they say ask for 128.
 */
const COUNTER_BITS: readonly number[] = [1, 128];
const keyTypes = [CKK.AES];

export const AES: readonly Mechanism[] = [
  mode(CKM.AES_ECB, 'ecb', readNoVector),
  mode(CKM.AES_CBC, 'cbc', readVector),
  mode(CKM.AES_CTR, 'ctr', readCounter),
];

type Mode = 'ecb' | 'cbc' | 'ctr';

function mode(
  id: number,
  name: Mode,
  read: (parameter: Uint8Array) => Uint8Array | null,
): Mechanism {
  const begin =
    (does: 'encrypt' | 'decrypt') =>
    (start: Start): Cipher =>
      streamCipher(does, name, { key: aesKey(start), vector: read(start.parameter) });
  const cipher = { id, keyTypes, encrypt: begin('encrypt'), decrypt: begin('decrypt') };
  if (name === 'ctr') return cipher;
  // A key that is wrapped this way is padded with zeros to whole blocks: §2.8.4, §2.8.5.
  return {
    ...cipher,
    wrap: (start, key) => begin('encrypt')(start).finish(zeroPadded(key)),
    unwrap: (start, wrapped) => begin('decrypt')(start).finish(wrapped),
  };
}

/** @throws TaFailure KEY_SIZE_RANGE */
export function aesKey({ key }: Start): Uint8Array {
  const value = required(key.attributes, CKA.VALUE);
  if (![16, 24, 32].includes(value.byteLength)) throw new TaFailure(CKR.KEY_SIZE_RANGE);
  return value;
}

export function zeroPadded(data: Uint8Array): Buffer {
  const blocks = Math.ceil(data.byteLength / AES_BLOCK_BYTES);
  return Buffer.concat([data], blocks * AES_BLOCK_BYTES);
}

/** Encrypts whole blocks in one go. */
export function encryptBlocks(
  name: 'ecb' | 'cbc',
  key: Uint8Array,
  vector: Uint8Array | null,
  data: Uint8Array,
): Buffer {
  const cipher = createCipheriv(cipherName(name, key), key, vector).setAutoPadding(false);
  return Buffer.concat([cipher.update(data), cipher.final()]);
}

function streamCipher(
  does: 'encrypt' | 'decrypt',
  name: Mode,
  { key, vector }: { readonly key: Uint8Array; readonly vector: Uint8Array | null },
): Cipher {
  const create = does === 'encrypt' ? createCipheriv : createDecipheriv;
  const state = create(cipherName(name, key), key, vector).setAutoPadding(false);
  const unit = name === 'ctr' ? 1 : AES_BLOCK_BYTES;
  let heldBytes = 0;
  const wholeBytes = (inputBytes: number): number => {
    const bytes = heldBytes + inputBytes;
    return bytes - (bytes % unit);
  };
  return {
    does,
    outputBytes: (_step, inputBytes) => wholeBytes(inputBytes),
    update: (data) => {
      heldBytes = (heldBytes + data.byteLength) % unit;
      return state.update(data);
    },
    finish: (data) => {
      if ((heldBytes + data.byteLength) % unit !== 0) {
        const { DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE } = CKR;
        throw new TaFailure(does === 'encrypt' ? DATA_LEN_RANGE : ENCRYPTED_DATA_LEN_RANGE);
      }
      return attempt(CKR.GENERAL_ERROR, () => Buffer.concat([state.update(data), state.final()]));
    },
  };
}

function cipherName(name: Mode, key: Uint8Array): string {
  return `aes-${String(8 * key.byteLength)}-${name}`;
}

function readNoVector(parameter: Uint8Array): null {
  requireNone(parameter);
  return null;
}

export function readVector(parameter: Uint8Array): Uint8Array {
  return readParameter(parameter, (reader) => Uint8Array.from(reader.bytes(AES_BLOCK_BYTES)));
}

/** CK_AES_CTR_PARAMS: how many bits count, and the first counter block. */
function readCounter(parameter: Uint8Array): Uint8Array {
  return readParameter(parameter, (reader) => {
    const bits = reader.u32();
    if (!COUNTER_BITS.includes(bits)) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
    return Uint8Array.from(reader.bytes(AES_BLOCK_BYTES));
  });
}
