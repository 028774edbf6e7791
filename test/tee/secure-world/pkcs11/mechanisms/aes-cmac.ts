/** AES-CMAC, which node:crypto does not offer: PKCS#11 v2.40 §2.13; RFC 4493. */
import { createCipheriv } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK } from '../abi.ts';
import type { Mechanism, Start } from '../processing.ts';
import { aesKey, AES_BLOCK_BYTES, encryptBlocks } from './aes.ts';
import { macFunctions, type Mac } from './hmac.ts';
import { readMacBytes, requireNone } from './parameters.ts';

const ZEROS = Buffer.alloc(AES_BLOCK_BYTES);
/** The polynomial of GF(2^128), RFC 4493 §2.3. */
const R_128 = 0x87;
const keyTypes = [CKK.AES];

export const AES_CMACS: readonly Mechanism[] = [
  { id: CKM.AES_CMAC, keyTypes, ...macFunctions((start) => cmac(aesKey(start)), whole, 'whole') },
  {
    id: CKM.AES_CMAC_GENERAL,
    keyTypes,
    ...macFunctions((start) => cmac(aesKey(start)), part, 'cut'),
  },
];

function whole({ parameter }: Start): number {
  requireNone(parameter);
  return AES_BLOCK_BYTES;
}

function part({ parameter }: Start): number {
  return readMacBytes(parameter, AES_BLOCK_BYTES);
}

/** A MAC in progress; the last block is kept back, because only the end knows how to treat it. */
export function cmac(key: Uint8Array): Mac {
  const name = `aes-${String(8 * key.byteLength)}-cbc`;
  const chain = createCipheriv(name, key, ZEROS).setAutoPadding(false);
  let last = Buffer.alloc(0);
  let state: Buffer = ZEROS;
  return {
    update: (data) => {
      const held = Buffer.concat([last, data]);
      const keep = held.byteLength === 0 ? 0 : ((held.byteLength - 1) % AES_BLOCK_BYTES) + 1;
      last = Buffer.from(held.subarray(held.byteLength - keep));
      const chained = chain.update(held.subarray(0, held.byteLength - keep));
      if (chained.byteLength > 0) state = chained.subarray(-AES_BLOCK_BYTES);
    },
    digest: () => {
      const subkey = doubled(encryptBlocks('ecb', key, null, ZEROS));
      const isWhole = last.byteLength === AES_BLOCK_BYTES;
      const block = isWhole ? last : padded(last);
      const mask = isWhole ? subkey : doubled(subkey);
      return encryptBlocks('ecb', key, null, xor(xor(block, mask), state));
    },
  };
}

function padded(data: Uint8Array): Buffer {
  return Buffer.concat([data, Uint8Array.of(0x80)], AES_BLOCK_BYTES);
}

/** Multiplication by x in GF(2^128). */
function doubled(block: Buffer): Buffer {
  const carry = block.readUInt8(0) >> 7;
  const shifted = block.map((byte, index) => ((byte << 1) | ((block[index + 1] ?? 0) >> 7)) & 0xff);
  const result = Buffer.from(shifted);
  const end = AES_BLOCK_BYTES - 1;
  result.writeUInt8(result.readUInt8(end) ^ (carry * R_128), end);
  return result;
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}
