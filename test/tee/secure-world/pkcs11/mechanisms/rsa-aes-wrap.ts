/** Keys under an AES key that is itself under RSA: PKCS#11 v2.40 §2.1.21; RFC 5649 for the inner part. */
import {
  createCipheriv,
  createDecipheriv,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { panic, TaFailure } from '../failure.ts';
import { attempt, privateKeyOf, publicKeyOf } from '../keys.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { modulusBytes } from '../rsa-key.ts';
import { readParameter } from './parameters.ts';
import { readOaep, type Padding } from './rsa-encryption.ts';

/** The alternative initial value of RFC 5649 §3. */
const KWP_VALUE = Buffer.from('a65959a6', 'hex');

export const RSA_AES_KEY_WRAP: Mechanism = {
  id: CKM.RSA_AES_KEY_WRAP,
  keyTypes: [CKK.RSA],
  encrypt: (start) => cipher('encrypt', start, wrap),
  decrypt: (start) => cipher('decrypt', start, unwrap),
  wrap,
  unwrap,
};

/** PKCS#11 has no encryption with this mechanism; OP-TEE claims it, starts it, and dies of it. */
function cipher(
  does: 'encrypt' | 'decrypt',
  start: Start,
  transform: (start: Start, data: Uint8Array) => Uint8Array,
): Cipher {
  readForm(start);
  return {
    does,
    outputBytes: () => 'when finished',
    finish: (data) => {
      if (start.mode === 'strict') throw panic('encryption with RSA_AES_KEY_WRAP');
      return transform(start, data);
    },
  };
}

function wrap(start: Start, key: Uint8Array): Uint8Array {
  const { aesBytes, form } = readForm(start);
  const outer = publicKeyOf(start.key);
  const inner = randomBytes(aesBytes);
  return attempt(CKR.GENERAL_ERROR, () => {
    const cipher = createCipheriv(`id-aes${String(8 * aesBytes)}-wrap-pad`, inner, KWP_VALUE);
    const wrapped = Buffer.concat([cipher.update(key), cipher.final()]);
    return Buffer.concat([publicEncrypt({ key: outer, ...form }, inner), wrapped]);
  });
}

function unwrap(start: Start, wrapped: Uint8Array): Uint8Array {
  const { aesBytes, form } = readForm(start);
  const outer = privateKeyOf(start.key);
  const outerBytes = modulusBytes(start.key.attributes);
  // OP-TEE asks for as much memory as is left after the RSA block: less than none is too much.
  if (wrapped.byteLength < outerBytes) throw new TaFailure(CKR.DEVICE_MEMORY);
  if (wrapped.byteLength === outerBytes) throw new TaFailure(CKR.WRAPPED_KEY_LEN_RANGE);
  return attempt(CKR.WRAPPED_KEY_INVALID, () => {
    const inner = privateDecrypt({ key: outer, ...form }, wrapped.subarray(0, outerBytes));
    if (inner.byteLength !== aesBytes) throw new TaFailure(CKR.WRAPPED_KEY_INVALID);
    const decipher = createDecipheriv(`id-aes${String(8 * aesBytes)}-wrap-pad`, inner, KWP_VALUE);
    return Buffer.concat([decipher.update(wrapped.subarray(outerBytes)), decipher.final()]);
  });
}

/** CK_RSA_AES_KEY_WRAP_PARAMS: bits of the AES key, then those of OAEP. */
function readForm({ parameter, mode }: Start): {
  readonly aesBytes: number;
  readonly form: Padding;
} {
  return readParameter(parameter, CKR.FUNCTION_FAILED, (reader) => {
    const aesBits = reader.u32();
    if (![128, 192, 256].includes(aesBits)) throw new TaFailure(CKR.ARGUMENTS_BAD);
    const { form } = readOaep(reader.bytes(reader.leftBytes), mode);
    return { aesBytes: aesBits / 8, form };
  });
}
