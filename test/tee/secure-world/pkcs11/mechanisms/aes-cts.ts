/**
 * AES with ciphertext stealing: data of any length from one block on, and no padding.
 *
 * PKCS#11 leaves the variant open; OP-TEE's swaps the last two blocks always (CBC-CS3), as Kerberos.
 *
 * OpenSSL has it, but Node cannot name a cipher that only OpenSSL's providers know, and @noble/ciphers
 * has none. So the arithmetic is OpenSSL's CBC, and what is done here is to put two blocks in order.
 *
 * Source: NIST SP 800-38A addendum; RFC 3962 §5.
 */
import { createCipheriv, createDecipheriv, type Cipheriv, type Decipheriv } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { panic, TaFailure } from '../failure.ts';
import type { Mode } from '../mode.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { aesKey, AES_BLOCK_BYTES, readVector, zeroPadded } from './aes.ts';

export const AES_CTS: Mechanism = {
  id: CKM.AES_CTS,
  keyTypes: [CKK.AES],
  encrypt: (start) => stealing('encrypt', start),
  decrypt: (start) => stealing('decrypt', start),
};

/** The last two blocks wait for the end, which alone knows that they are; what is before is CBC. */
function stealing(does: 'encrypt' | 'decrypt', start: Start): Cipher {
  const key = aesKey(start);
  const create = does === 'encrypt' ? createCipheriv : createDecipheriv;
  const vector = readVector(start.parameter);
  const chain = create(cbcName(key), key, vector).setAutoPadding(false);
  let held = Buffer.alloc(0);
  let total = 0;
  return {
    does,
    outputBytes: (step, inputBytes) => {
      const bytes = held.byteLength + inputBytes;
      requireBlock(does, step, start.mode, { inputBytes, allBytes: total + inputBytes });
      return step === 'update' ? bytes - keptBytes(bytes) : bytes;
    },
    update: (data) => {
      total += data.byteLength;
      const all = Buffer.concat([held, data]);
      const end = all.byteLength - keptBytes(all.byteLength);
      held = Buffer.from(all.subarray(end));
      return chain.update(all.subarray(0, end));
    },
    finish: (data) => {
      if (start.mode === 'strict' && total + data.byteLength === AES_BLOCK_BYTES) {
        throw panic('a single block for ciphertext stealing');
      }
      const all = Buffer.concat([held, data]);
      const end = all.byteLength - keptBytes(all.byteLength);
      const before = chain.update(all.subarray(0, end));
      const last = all.subarray(end);
      const ending = does === 'encrypt' ? encryptEnd(chain, last) : decryptEnd(chain, key, last);
      return Buffer.concat([before, ending]);
    },
  };
}

/** Of so many bytes the end keeps one whole block, and a second one, whole or not. */
function keptBytes(bytes: number): number {
  const last = bytes === 0 ? 0 : ((bytes - 1) % AES_BLOCK_BYTES) + 1;
  return Math.min(bytes, AES_BLOCK_BYTES + last);
}

/**
 * Ciphertext cannot be stolen from a block that is not there. OP-TEE wants one in each part.
 *
 * @throws TaFailure DATA_LEN_RANGE or ENCRYPTED_DATA_LEN_RANGE
 */
function requireBlock(
  does: 'encrypt' | 'decrypt',
  step: 'update' | 'last',
  mode: Mode,
  { inputBytes, allBytes }: { readonly inputBytes: number; readonly allBytes: number },
): void {
  const isFinal = step === 'last' && inputBytes === 0;
  const isShort =
    mode === 'strict'
      ? !isFinal && inputBytes < AES_BLOCK_BYTES
      : step === 'last' && allBytes < AES_BLOCK_BYTES;
  const { DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE } = CKR;
  if (isShort) throw new TaFailure(does === 'encrypt' ? DATA_LEN_RANGE : ENCRYPTED_DATA_LEN_RANGE);
}

type Chain = Pick<Cipheriv | Decipheriv, 'update'>;

function encryptEnd(chain: Chain, data: Buffer): Buffer {
  const blocks = chain.update(zeroPadded(data));
  return data.byteLength <= AES_BLOCK_BYTES ? blocks : swapped(blocks).subarray(0, data.byteLength);
}

/** The missing end of the stolen block is what the block after it decrypts to. */
function decryptEnd(chain: Chain, key: Uint8Array, data: Buffer): Buffer {
  if (data.byteLength <= AES_BLOCK_BYTES) return chain.update(data);
  const missing = 2 * AES_BLOCK_BYTES - data.byteLength;
  const whole = data.subarray(0, AES_BLOCK_BYTES);
  const stolen = decryptBlock(key, whole).subarray(AES_BLOCK_BYTES - missing);
  const blocks = swapped(Buffer.concat([data, stolen]));
  return chain.update(blocks).subarray(0, data.byteLength);
}

function decryptBlock(key: Uint8Array, block: Uint8Array): Buffer {
  const decipher = createDecipheriv(`aes-${String(8 * key.byteLength)}-ecb`, key, null);
  return decipher.setAutoPadding(false).update(block);
}

function cbcName(key: Uint8Array): string {
  return `aes-${String(8 * key.byteLength)}-cbc`;
}

/** Two blocks, the second first. */
function swapped(blocks: Buffer): Buffer {
  return Buffer.concat([blocks.subarray(AES_BLOCK_BYTES), blocks.subarray(0, AES_BLOCK_BYTES)]);
}
