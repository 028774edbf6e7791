/** Secret keys made here: PKCS#11 v2.40 §2.7.2 and §2.8.3. */
import { randomBytes } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM, MECHANISMS } from '../abi-mechanisms.ts';
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
  requireSecretSize(key.keyType, bytes);
  return bytes;
}

/** @throws TaFailure KEY_SIZE_RANGE for a length that keys of the type do not have */
export function requireSecretSize(keyType: number | undefined, bytes: number): void {
  const [min, max] = hmacKeyBytes(keyType) ?? [1, MAX_SECRET_BYTES];
  const isRight =
    keyType === CKK.AES ? AES_KEY_BYTES.includes(bytes) : bytes >= min && bytes <= max;
  if (!isRight) throw new TaFailure(CKR.KEY_SIZE_RANGE);
}

const HMAC_OF_TYPE: ReadonlyMap<number, number> = new Map<number, number>([
  [CKK.MD5_HMAC, CKM.MD5_HMAC],
  [CKK.SHA_1_HMAC, CKM.SHA_1_HMAC],
  [CKK.SHA224_HMAC, CKM.SHA224_HMAC],
  [CKK.SHA256_HMAC, CKM.SHA256_HMAC],
  [CKK.SHA384_HMAC, CKM.SHA384_HMAC],
  [CKK.SHA512_HMAC, CKM.SHA512_HMAC],
]);

function hmacKeyBytes(keyType: number | undefined): readonly [number, number] | undefined {
  const mechanism = HMAC_OF_TYPE.get(keyType ?? -1);
  const info = MECHANISMS.find(({ id }) => id === mechanism);
  return info && [info.minKeySize, info.maxKeySize];
}
