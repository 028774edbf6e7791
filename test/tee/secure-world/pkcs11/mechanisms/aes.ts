/** AES in its block and counter modes: PKCS#11 v2.40 §2.8, §2.9 and §2.12. */
import { createCipheriv, createDecipheriv } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { TaFailure } from '../failure.ts';
import { attempt, required } from '../keys.ts';
import type { Mode } from '../mode.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { readParameter, requireNone } from './parameters.ts';

export const AES_BLOCK_BYTES = 16;
/**
 * Bits of the counter block that count. OP-TEE takes 1 alone and counts with all 128; callers who
 * mean what they say ask for 128.
 */
const COUNTER_BITS: Readonly<Record<Mode, readonly number[]>> = { strict: [1], default: [1, 128] };
const keyTypes = [CKK.AES];

export const AES: readonly Mechanism[] = [
  mode(CKM.AES_ECB, 'ecb', readNoVector),
  mode(CKM.AES_CBC, 'cbc', readVector),
  mode(CKM.AES_CTR, 'ctr', readCounter),
];

type ModeName = 'ecb' | 'cbc' | 'ctr';

function mode(
  id: number,
  name: ModeName,
  read: (parameter: Uint8Array, mode: Mode) => Uint8Array | null,
): Mechanism {
  const begin =
    (does: 'encrypt' | 'decrypt') =>
    (start: Start): Cipher =>
      streamCipher(does, name, start, read(start.parameter, start.mode));
  const cipher = { id, keyTypes, encrypt: begin('encrypt'), decrypt: begin('decrypt') };
  if (name === 'ctr') return cipher;
  // A key that is wrapped this way is padded with zeros to whole blocks: §2.8.4, §2.8.5.
  return {
    ...cipher,
    wrap: (start, key) => begin('encrypt')(start).finish(zeroPadded(key)),
    unwrap: (start, wrapped) => {
      const cipher = begin('decrypt')(start);
      cipher.outputBytes('last', wrapped.byteLength);
      return cipher.finish(wrapped);
    },
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
  name: ModeName,
  start: Start,
  vector: Uint8Array | null,
): Cipher {
  const key = aesKey(start);
  const isStrict = start.mode === 'strict';
  const create = does === 'encrypt' ? createCipheriv : createDecipheriv;
  const state = create(cipherName(name, key), key, vector).setAutoPadding(false);
  const unit = name === 'ctr' ? 1 : AES_BLOCK_BYTES;
  let heldBytes = 0;
  const wholeBytes = (inputBytes: number): number => {
    const bytes = heldBytes + inputBytes;
    return bytes - (bytes % unit);
  };
  // PKCS#11 lets parts be of any size and only their sum be whole blocks; OP-TEE does not.
  const requireBlocks = (step: 'update' | 'last', inputBytes: number): void => {
    const isPart = step === 'update' && !isStrict;
    if (isPart || (heldBytes + inputBytes) % unit === 0) return;
    const { DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE } = CKR;
    throw new TaFailure(does === 'encrypt' ? DATA_LEN_RANGE : ENCRYPTED_DATA_LEN_RANGE);
  };
  return {
    does,
    needsData: isStrict,
    outputBytes: (step, inputBytes) => {
      requireBlocks(step, inputBytes);
      return wholeBytes(inputBytes);
    },
    update: (data) => {
      heldBytes = (heldBytes + data.byteLength) % unit;
      return state.update(data);
    },
    finish: (data) =>
      attempt(CKR.GENERAL_ERROR, () => Buffer.concat([state.update(data), state.final()])),
  };
}

function cipherName(name: ModeName, key: Uint8Array): string {
  return `aes-${String(8 * key.byteLength)}-${name}`;
}

function readNoVector(parameter: Uint8Array): null {
  requireNone(parameter);
  return null;
}

export function readVector(parameter: Uint8Array): Uint8Array {
  return readParameter(parameter, CKR.MECHANISM_PARAM_INVALID, (reader) =>
    Uint8Array.from(reader.bytes(AES_BLOCK_BYTES)),
  );
}

/** CK_AES_CTR_PARAMS: how many bits count, and the first counter block. */
function readCounter(parameter: Uint8Array, mode: Mode): Uint8Array {
  return readParameter(parameter, CKR.ARGUMENTS_BAD, (reader) => {
    const bits = reader.u32();
    if (!COUNTER_BITS[mode].includes(bits)) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
    return Uint8Array.from(reader.bytes(AES_BLOCK_BYTES));
  });
}
