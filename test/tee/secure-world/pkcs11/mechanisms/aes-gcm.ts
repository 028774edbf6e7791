/**
 * AES-GCM: PKCS#11 v2.40 §2.11.
 *
 * OpenSSL takes a vector of at most 128 bytes. The rare longer one goes to @noble/ciphers, which looks
 * up tables by key and data, in time that depends on both.
 */
import {
  createCipheriv,
  createDecipheriv,
  timingSafeEqual,
  type CipherGCMTypes,
} from 'node:crypto';

import { gcm } from '@noble/ciphers/aes.js';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { panic, TaFailure } from '../failure.ts';
import { attempt } from '../keys.ts';
import type { Cipher, Mechanism, Start } from '../processing.ts';
import { aesKey } from './aes.ts';
import { readParameter } from './parameters.ts';

const MAX_VECTOR_BYTES = 256;
const MAX_OPENSSL_VECTOR_BYTES = 128;
const MAX_TAG_BITS = 128;
/** NIST SP 800-38D §5.2.1.2. */
const TAG_BITS: readonly number[] = [32, 64, 96, 104, 112, 120, 128];
/** GlobalPlatform TEE Internal Core API v1.3 table 6-6: OP-TEE has no others. */
const STRICT_TAG_BITS: readonly number[] = [96, 104, 112, 120, 128];
/** What is decrypted waits for its tag, so it is bounded: the same as one frame of the wire. */
const MAX_WITHHELD_BYTES = 16 * 1024 * 1024;

export const AES_GCM: Mechanism = {
  id: CKM.AES_GCM,
  keyTypes: [CKK.AES],
  encrypt,
  decrypt,
  wrap: (start, key) => encrypt(start).finish(key),
  unwrap: (start, wrapped) => decrypt(start).finish(wrapped),
};

interface Form {
  readonly key: Uint8Array;
  readonly name: CipherGCMTypes;
  readonly vector: Uint8Array;
  readonly aad: Uint8Array;
  readonly tagBytes: number;
}

interface Stream {
  readonly update: (data: Uint8Array) => Uint8Array;
  /** @returns the rest, and the tag */
  readonly finish: (data: Uint8Array) => Uint8Array;
}

function encrypt(start: Start): Cipher {
  const form = readForm(start);
  const isLong = form.vector.byteLength > MAX_OPENSSL_VECTOR_BYTES;
  const stream = isLong ? longVectorStream(form) : opensslStream(form);
  return {
    does: 'encrypt',
    outputBytes: (step, inputBytes) => inputBytes + (step === 'last' ? form.tagBytes : 0),
    withholds: isLong,
    ...stream,
  };
}

function opensslStream({ name, key, vector, aad, tagBytes }: Form): Stream {
  const state = createCipheriv(name, key, vector, { authTagLength: tagBytes }).setAAD(aad);
  return {
    update: (data) => state.update(data),
    finish: (data) => {
      const text = attempt(CKR.GENERAL_ERROR, () =>
        Buffer.concat([state.update(data), state.final()]),
      );
      return Buffer.concat([text, state.getAuthTag()]);
    },
  };
}

/** @noble/ciphers takes all at once: each part is encrypted with all that came before it. */
function longVectorStream({ key, vector, aad, tagBytes }: Form): Stream {
  let all: Uint8Array = Buffer.alloc(0);
  const rest = (data: Uint8Array): Uint8Array => {
    const done = all.byteLength;
    all = withinBounds([all, data]);
    return gcm(key, vector, aad).encrypt(all).subarray(done);
  };
  return {
    update: (data) => rest(data).subarray(0, data.byteLength),
    finish: (data) => rest(data).subarray(0, data.byteLength + tagBytes),
  };
}

/** Nothing is handed out before the tag is verified: the text of an attacker is no text. */
function decrypt(start: Start): Cipher {
  const form = readForm(start);
  const { vector, tagBytes } = form;
  const open = vector.byteLength > MAX_OPENSSL_VECTOR_BYTES ? openLongVector : openWithOpenssl;
  let held: Uint8Array = Buffer.alloc(0);
  return {
    does: 'decrypt',
    // A tag that is wrong is more to say than a buffer that is too small.
    outputBytes: (step) => (step === 'update' ? 0 : 'when finished'),
    withholds: true,
    update: (data) => {
      held = withinBounds([held, data]);
      return new Uint8Array();
    },
    finish: (data) => {
      const all = Buffer.concat([held, data]);
      if (all.byteLength < tagBytes) throw new TaFailure(CKR.ENCRYPTED_DATA_LEN_RANGE);
      const end = all.byteLength - tagBytes;
      return open(form, all.subarray(0, end), all.subarray(end));
    },
  };
}

function openWithOpenssl(form: Form, text: Uint8Array, tag: Uint8Array): Uint8Array {
  const { name, key, vector, aad, tagBytes } = form;
  const state = createDecipheriv(name, key, vector, { authTagLength: tagBytes });
  state.setAAD(aad).setAuthTag(tag);
  const opened = state.update(text);
  // OP-TEE's name for a wrong tag; PKCS#11 would say ENCRYPTED_DATA_INVALID.
  return attempt(CKR.SIGNATURE_INVALID, () => Buffer.concat([opened, state.final()]));
}

/** @noble/ciphers wants whole tags, so a cut one is compared with the tag of what it should open to. */
function openLongVector({ key, vector, aad }: Form, text: Uint8Array, tag: Uint8Array): Uint8Array {
  const seal = (data: Uint8Array): Uint8Array => gcm(key, vector, aad).encrypt(data);
  const opened = seal(text).slice(0, text.byteLength);
  const expected = seal(opened).subarray(text.byteLength, text.byteLength + tag.byteLength);
  if (!timingSafeEqual(expected, tag)) throw new TaFailure(CKR.SIGNATURE_INVALID);
  return opened;
}

function withinBounds(parts: readonly Uint8Array[]): Buffer {
  const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (bytes > MAX_WITHHELD_BYTES) throw new TaFailure(CKR.DEVICE_MEMORY);
  return Buffer.concat(parts);
}

/** CK_GCM_PARAMS as libckteec sends it: vector, additional data, bits of the tag. */
function readForm(start: Start): Form {
  const key = aesKey(start);
  return readParameter(start.parameter, CKR.ARGUMENTS_BAD, (reader) => {
    const vector = Uint8Array.from(reader.counted());
    const aad = Uint8Array.from(reader.counted());
    const tagBits = reader.u32();
    // OP-TEE does not look at what follows.
    reader.bytes(reader.leftBytes);
    const isRight =
      vector.byteLength > 0 &&
      vector.byteLength <= MAX_VECTOR_BYTES &&
      (start.mode === 'strict' ? tagBits <= MAX_TAG_BITS : TAG_BITS.includes(tagBits));
    if (!isRight) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
    if (start.mode === 'strict' && !STRICT_TAG_BITS.includes(tagBits)) {
      throw panic('a tag of a length that GlobalPlatform does not have');
    }
    const name: CipherGCMTypes =
      key.byteLength === 16 ? 'aes-128-gcm' : key.byteLength === 24 ? 'aes-192-gcm' : 'aes-256-gcm';
    return { key, name, vector, aad, tagBytes: tagBits / 8 };
  });
}
