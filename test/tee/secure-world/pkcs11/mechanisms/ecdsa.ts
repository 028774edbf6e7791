/**
 * ECDSA and its keys: PKCS#11 v2.40 §2.3.
 *
 * node:crypto cannot sign a digest that it did not compute, so every signature is made over a
 * digest by an addon, or by the portable substitute where that was not built.
 */
import { createECDH, createHash, hash as hashOf, type Hash as HashState } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import type { Attributes } from '../attributes.ts';
import { curveOf } from '../curves.ts';
import { octetString } from '../der.ts';
import { TaFailure } from '../failure.ts';
import { padded, required } from '../keys.ts';
import type { Mechanism, Signer, Start, Verifier } from '../processing.ts';
import { loadNativeEcdsa } from './ecdsa-native.ts';
import { PORTABLE_ECDSA } from './ecdsa-portable.ts';
import { SHA1, SHA224, SHA256, SHA384, SHA512, type Hash } from './hashes.ts';
import { requireNone } from './parameters.ts';

const keyTypes = [CKK.EC];
const ecdsa = loadNativeEcdsa() ?? PORTABLE_ECDSA;

export const ECDSA: readonly Mechanism[] = [
  { id: CKM.EC_KEY_PAIR_GEN, keyTypes, generatePair },
  { id: CKM.ECDSA, keyTypes, sign: digestSigner, verify: digestVerifier },
  hashing(CKM.ECDSA_SHA1, SHA1),
  hashing(CKM.ECDSA_SHA224, SHA224),
  hashing(CKM.ECDSA_SHA256, SHA256),
  hashing(CKM.ECDSA_SHA384, SHA384),
  hashing(CKM.ECDSA_SHA512, SHA512),
];

/** The same over data: what is signed is cut to the length of the order (FIPS 186-5 §6.4.1). */
function hashing(id: number, { name }: Hash): Mechanism {
  return {
    id,
    keyTypes,
    sign: (start) => {
      const { signatureBytes, sign } = digestSigner(start);
      const { update, digest } = hasher(name);
      return { does: 'sign', signatureBytes, update, sign: (data) => sign(digest(data)) };
    },
    verify: (start) => {
      const { signatureBytes, verify } = digestVerifier(start);
      const { update, digest } = hasher(name);
      return {
        does: 'verify',
        signatureBytes,
        update,
        verify: (data, signature) => verify(digest(data), signature),
      };
    },
  };
}

interface Hasher {
  readonly update: (data: Uint8Array) => void;
  readonly digest: (last: Uint8Array) => Uint8Array;
}

/** Data that comes at once is hashed at once, which costs a third of the other way. */
function hasher(name: string): Hasher {
  let state: HashState | undefined;
  return {
    update: (data) => {
      state = (state ?? createHash(name)).update(data);
    },
    digest: (last) => state?.update(last).digest() ?? hashOf(name, last, 'buffer'),
  };
}

function digestSigner({ parameter, key }: Start): Signer {
  requireNone(parameter);
  const { bytes } = curveOf(key.attributes);
  const sign = ecdsa.signer(key);
  return {
    does: 'sign',
    signatureBytes: 2 * bytes,
    sign: (digest) => sign(leftmost(bytes, digest)),
  };
}

function digestVerifier({ parameter, key }: Start): Verifier {
  requireNone(parameter);
  const { bytes } = curveOf(key.attributes);
  const verify = ecdsa.verifier(key);
  return {
    does: 'verify',
    signatureBytes: 2 * bytes,
    verify: (digest, signature) => verify(leftmost(bytes, digest), signature),
  };
}

/** OP-TEE cuts a digest that is longer than the order before it asks for a signature. */
function leftmost(bytes: number, digest: Uint8Array): Uint8Array {
  if (digest.byteLength === 0) throw new TaFailure(CKR.FUNCTION_FAILED);
  return digest.subarray(0, bytes);
}

function generatePair(publicKey: Attributes, privateKey: Attributes): void {
  const curve = curveOf(publicKey);
  const pair = createECDH(curve.name);
  const point = octetString(pair.generateKeys());
  publicKey.set(CKA.EC_POINT, point);
  privateKey.set(CKA.EC_PARAMS, required(publicKey, CKA.EC_PARAMS));
  privateKey.set(CKA.VALUE, padded(pair.getPrivateKey(), curve.bytes));
  privateKey.set(CKA.HIDDEN_EC_POINT, point);
}
