/**
 * CKA_CHECK_VALUE: three bytes that tell two keys or certificates apart without giving them away.
 *
 * Source: PKCS#11 v2.40 §4.6.2 and §4.10.2; OP-TEE ta/pkcs11/src/processing.c (CFG_PKCS11_TA_CHECK_VALUE_ATTRIBUTE).
 */
import { createCipheriv, createHash } from 'node:crypto';

import { CKA } from './abi-attributes.ts';
import { CKK, CKO, CKR } from './abi.ts';
import { sameBytes, type Attributes } from './attributes.ts';
import { TaFailure } from './failure.ts';

const CHECK_VALUE_BYTES = 3;
const AES_BLOCK_BYTES = 16;

/**
 * Adds the check value, or compares the one that was given. An empty one says that none is wanted.
 *
 * @throws TaFailure ATTRIBUTE_VALUE_INVALID when the given one is wrong
 */
export function checkCheckValue(attributes: Attributes): void {
  const value = attributes.get(CKA.VALUE);
  const objectClass = attributes.objectClass;
  const hasOne = objectClass === CKO.SECRET_KEY || objectClass === CKO.CERTIFICATE;
  if (!hasOne || value === undefined || value.byteLength === 0) return;
  const given = attributes.get(CKA.CHECK_VALUE);
  if (given?.byteLength === 0) return;
  const isAes = objectClass === CKO.SECRET_KEY && attributes.keyType === CKK.AES;
  const computed = isAes ? ofAesKey(value) : createHash('sha1').update(value).digest();
  const checkValue = computed.subarray(0, CHECK_VALUE_BYTES);
  if (given !== undefined && !sameBytes(given, checkValue)) {
    throw new TaFailure(CKR.ATTRIBUTE_VALUE_INVALID);
  }
  attributes.set(CKA.CHECK_VALUE, checkValue);
}

/** @throws TaFailure GENERAL_ERROR for what is no AES key */
function ofAesKey(key: Uint8Array): Buffer {
  if (![16, 24, 32].includes(key.byteLength)) throw new TaFailure(CKR.GENERAL_ERROR);
  const cipher = createCipheriv(`aes-${String(8 * key.byteLength)}-ecb`, key, null);
  return cipher.update(Buffer.alloc(AES_BLOCK_BYTES));
}
