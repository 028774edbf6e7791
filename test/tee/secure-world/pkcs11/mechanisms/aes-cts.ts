/**
 * AES with ciphertext stealing: data of any length from one block on, and no padding.
 *
 * PKCS#11 leaves the variant open; OP-TEE's swaps the last two blocks always (CBC-CS3), as Kerberos.
 *
 * Source: NIST SP 800-38A addendum; RFC 3962 §5.
 */
import { createDecipheriv } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { TaFailure } from '../failure.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { aesKey, AES_BLOCK_BYTES, encryptBlocks, readVector, zeroPadded } from './aes.ts';

/** The last two blocks are only known at the end, so all waits for it, within bounds. */
const MAX_WITHHELD_BYTES = 16 * 1024 * 1024;

export const AES_CTS: Mechanism = {
  id: CKM.AES_CTS,
  keyTypes: [CKK.AES],
  encrypt: (start) => withholding('encrypt', start, CKR.DATA_LEN_RANGE, encrypt),
  decrypt: (start) => withholding('decrypt', start, CKR.ENCRYPTED_DATA_LEN_RANGE, decrypt),
};

type Transform = (key: Uint8Array, vector: Uint8Array, data: Buffer) => Buffer;

function withholding(
  does: 'encrypt' | 'decrypt',
  start: Start,
  lengthFailure: number,
  transform: Transform,
): Cipher {
  const key = aesKey(start);
  const vector = readVector(start.parameter);
  const parts: Uint8Array[] = [];
  let heldBytes = 0;
  return {
    does,
    outputBytes: (step, inputBytes) => (step === 'update' ? 0 : heldBytes + inputBytes),
    update: (data) => {
      heldBytes += data.byteLength;
      if (heldBytes > MAX_WITHHELD_BYTES) throw new TaFailure(CKR.DEVICE_MEMORY);
      parts.push(Uint8Array.from(data));
      return new Uint8Array();
    },
    finish: (data) => {
      const all = Buffer.concat([...parts, data]);
      if (all.byteLength < AES_BLOCK_BYTES) throw new TaFailure(lengthFailure);
      return transform(key, vector, all);
    },
  };
}

function encrypt(key: Uint8Array, vector: Uint8Array, data: Buffer): Buffer {
  const blocks = encryptBlocks('cbc', key, vector, zeroPadded(data));
  if (blocks.byteLength === AES_BLOCK_BYTES) return blocks;
  return swapped(blocks).subarray(0, data.byteLength);
}

/** The missing end of the stolen block is what the block after it decrypts to. */
function decrypt(key: Uint8Array, vector: Uint8Array, data: Buffer): Buffer {
  if (data.byteLength === AES_BLOCK_BYTES) return decryptBlocks('cbc', key, vector, data);
  const missing = zeroPadded(data).byteLength - data.byteLength;
  const lastWhole = data.byteLength + missing - 2 * AES_BLOCK_BYTES;
  const whole = data.subarray(lastWhole, lastWhole + AES_BLOCK_BYTES);
  const stolen = decryptBlocks('ecb', key, null, whole).subarray(AES_BLOCK_BYTES - missing);
  const blocks = swapped(Buffer.concat([data, stolen]));
  return decryptBlocks('cbc', key, vector, blocks).subarray(0, data.byteLength);
}

function decryptBlocks(
  name: 'ecb' | 'cbc',
  key: Uint8Array,
  vector: Uint8Array | null,
  data: Uint8Array,
): Buffer {
  const cipherName = `aes-${String(8 * key.byteLength)}-${name}`;
  const decipher = createDecipheriv(cipherName, key, vector).setAutoPadding(false);
  return Buffer.concat([decipher.update(data), decipher.final()]);
}

function swapped(blocks: Buffer): Buffer {
  const last = blocks.byteLength - AES_BLOCK_BYTES;
  const before = last - AES_BLOCK_BYTES;
  return Buffer.concat([
    blocks.subarray(0, before),
    blocks.subarray(last),
    blocks.subarray(before, last),
  ]);
}
