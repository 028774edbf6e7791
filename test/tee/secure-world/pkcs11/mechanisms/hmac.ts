/** HMAC, whole and cut short: PKCS#11 v2.40 §2.17 to §2.22; RFC 2104. */
import { createHmac, timingSafeEqual } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM, MECHANISMS } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { panic, TaFailure } from '../failure.ts';
import { required } from '../keys.ts';
import type { Mechanism, Signer, Start, Verifier } from '../processing.ts';
import { MD5, SHA1, SHA224, SHA256, SHA384, SHA512, type Hash } from './hashes.ts';
import { readMacBytes, requireNone } from './parameters.ts';

export const HMACS: readonly Mechanism[] = [
  ...pair(MD5, CKK.MD5_HMAC, CKM.MD5_HMAC, CKM.MD5_HMAC_GENERAL),
  ...pair(SHA1, CKK.SHA_1_HMAC, CKM.SHA_1_HMAC, CKM.SHA_1_HMAC_GENERAL),
  ...pair(SHA224, CKK.SHA224_HMAC, CKM.SHA224_HMAC, CKM.SHA224_HMAC_GENERAL),
  ...pair(SHA256, CKK.SHA256_HMAC, CKM.SHA256_HMAC, CKM.SHA256_HMAC_GENERAL),
  ...pair(SHA384, CKK.SHA384_HMAC, CKM.SHA384_HMAC, CKM.SHA384_HMAC_GENERAL),
  ...pair(SHA512, CKK.SHA512_HMAC, CKM.SHA512_HMAC, CKM.SHA512_HMAC_GENERAL),
];

/** The whole MAC, and the one whose parameter says how much of it is wanted. */
function pair(hash: Hash, keyType: number, id: number, generalId: number): readonly Mechanism[] {
  const keyTypes = [keyType, CKK.GENERIC_SECRET];
  const minKeyBytes = MECHANISMS.find((info) => info.id === id)?.minKeySize ?? 0;
  const checkKey = (start: Start): void => {
    requireKeyBytes(start, minKeyBytes);
    requireOneHash(start, hash);
  };
  const whole = (start: Start): number => {
    checkKey(start);
    requireNone(start.parameter);
    return hash.bytes;
  };
  const part = (start: Start): number => {
    checkKey(start);
    return readMacBytes(start.parameter, hash.bytes);
  };
  return [
    { id, keyTypes, ...macFunctions((start) => hmac(hash, start), whole) },
    { id: generalId, keyTypes, ...macFunctions((start) => hmac(hash, start), part, hash.bytes) },
  ];
}

/** @throws TaFailure KEY_SIZE_RANGE for a key too short for the hash */
function requireKeyBytes({ key }: Start, minKeyBytes: number): void {
  const { byteLength } = required(key.attributes, CKA.VALUE);
  if (byteLength < minKeyBytes) throw new TaFailure(CKR.KEY_SIZE_RANGE);
}

/** OP-TEE loads a generic secret for the first hash that it is used with, and dies of another. */
function requireOneHash({ key, mode }: Start, { name }: Hash): void {
  key.usedWith ??= name;
  if (mode === 'strict' && key.usedWith !== name) {
    throw panic('a generic secret is used with a second hash');
  }
}

/** A MAC in progress. */
export interface Mac {
  readonly update: (data: Uint8Array) => void;
  readonly digest: () => Uint8Array;
}

function hmac({ name }: Hash, { key }: Start): Mac {
  const state = createHmac(name, required(key.attributes, CKA.VALUE));
  return {
    update: (data) => {
      state.update(data);
    },
    digest: () => state.digest(),
  };
}

/**
 * Signing and verifying with a MAC, of which `bytesOf` says how many bytes are used.
 *
 * @param wholeBytes - the whole MAC's length, if one that is cut is compared by its own: OP-TEE's way
 */
export function macFunctions(
  begin: (start: Start) => Mac,
  bytesOf: (start: Start) => number,
  wholeBytes?: number,
): Pick<Mechanism, 'sign' | 'verify'> {
  return {
    sign: (start): Signer => {
      const signatureBytes = bytesOf(start);
      const mac = begin(start);
      return {
        does: 'sign',
        signatureBytes,
        needsData: start.mode === 'strict',
        update: mac.update,
        sign: (data) => {
          mac.update(data);
          return mac.digest().subarray(0, signatureBytes);
        },
      };
    },
    verify: (start): Verifier => {
      const signatureBytes = bytesOf(start);
      const mac = begin(start);
      return {
        does: 'verify',
        signatureBytes,
        takesLength: (bytes) =>
          wholeBytes === undefined ? bytes === signatureBytes : bytes > 0 && bytes <= wholeBytes,
        needsData: start.mode === 'strict',
        update: mac.update,
        verify: (data, signature) => {
          mac.update(data);
          if (signature.byteLength > signatureBytes) return false;
          return timingSafeEqual(mac.digest().subarray(0, signature.byteLength), signature);
        },
      };
    },
  };
}
