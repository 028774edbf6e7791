/** HMAC, whole and cut short: PKCS#11 v2.40 §2.17 to §2.22; RFC 2104. */
import { createHmac, timingSafeEqual } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK } from '../abi.ts';
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
  const whole = ({ parameter }: Start): number => {
    requireNone(parameter);
    return hash.bytes;
  };
  const part = ({ parameter }: Start): number => readMacBytes(parameter, hash.bytes);
  return [
    { id, keyTypes, ...macFunctions((start) => hmac(hash, start), whole, 'whole') },
    { id: generalId, keyTypes, ...macFunctions((start) => hmac(hash, start), part, 'cut') },
  ];
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

/** Signing and verifying with a MAC, of which `bytesOf` says how many bytes are used. */
export function macFunctions(
  begin: (start: Start) => Mac,
  bytesOf: (start: Start) => number,
  kind: 'whole' | 'cut',
): Pick<Mechanism, 'sign' | 'verify'> {
  return {
    sign: (start): Signer => {
      const signatureBytes = bytesOf(start);
      const mac = begin(start);
      return {
        does: 'sign',
        signatureBytes,
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
        mayBeShorter: kind === 'cut',
        update: mac.update,
        verify: (data, signature) => {
          mac.update(data);
          return timingSafeEqual(mac.digest().subarray(0, signature.byteLength), signature);
        },
      };
    },
  };
}
