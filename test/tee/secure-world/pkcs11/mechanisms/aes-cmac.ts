/**
 * AES-CMAC: PKCS#11 v2.40 §2.13; RFC 4493.
 *
 * node:crypto does not offer it, so it is @noble/ciphers'. That looks bytes up in tables, so its time
 * depends on key and data: what this TA keeps is a test's, and whoever can time it can read its memory.
 */
import { cmac } from '@noble/ciphers/aes.js';

import { CKM } from '../abi-mechanisms.ts';
import { CKK } from '../abi.ts';
import type { Mechanism, Start } from '../processing.ts';
import { aesKey, AES_BLOCK_BYTES } from './aes.ts';
import { macFunctions, type Mac } from './hmac.ts';
import { readMacBytes, requireNone } from './parameters.ts';

const keyTypes = [CKK.AES];

export const AES_CMACS: readonly Mechanism[] = [
  { id: CKM.AES_CMAC, keyTypes, ...macFunctions(begin, whole) },
  { id: CKM.AES_CMAC_GENERAL, keyTypes, ...macFunctions(begin, part, AES_BLOCK_BYTES) },
];

function begin(start: Start): Mac {
  const state = cmac.create(aesKey(start));
  return {
    update: (data) => {
      state.update(data);
    },
    digest: () => state.digest(),
  };
}

function whole({ parameter }: Start): number {
  requireNone(parameter);
  return AES_BLOCK_BYTES;
}

function part({ parameter }: Start): number {
  return readMacBytes(parameter, AES_BLOCK_BYTES);
}
