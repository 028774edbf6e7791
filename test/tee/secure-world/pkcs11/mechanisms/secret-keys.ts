/** Secret keys made here: PKCS#11 v2.40 §2.7.2 and §2.8.3. */
import { randomBytes } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import type { Attributes } from '../attributes.ts';
import { TaFailure } from '../failure.ts';
import type { Mechanism } from '../processing.ts';

const AES_KEY_BYTES: readonly number[] = [16, 24, 32];
/** 4096 bits. */
const MAX_SECRET_BYTES = 512;

export const SECRET_KEYS: readonly Mechanism[] = [
  { id: CKM.AES_KEY_GEN, keyTypes: [CKK.AES], generate: (bytes) => randomBytes(bytes) },
  {
    id: CKM.GENERIC_SECRET_KEY_GEN,
    keyTypes: [CKK.GENERIC_SECRET],
    generate: (bytes) => randomBytes(bytes),
  },
];

/**
 * @returns how long a secret key is asked to be
 * @throws TaFailure TEMPLATE_INCOMPLETE without CKA_VALUE_LEN
 * @throws TaFailure KEY_SIZE_RANGE for a length that its type does not have
 */
export function secretBytes(key: Attributes): number {
  const bytes = key.word(CKA.VALUE_LEN);
  if (bytes === undefined) throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
  const isAes = key.keyType === CKK.AES;
  const isRight = isAes ? AES_KEY_BYTES.includes(bytes) : bytes > 0 && bytes <= MAX_SECRET_BYTES;
  if (!isRight) throw new TaFailure(CKR.KEY_SIZE_RANGE);
  return bytes;
}
