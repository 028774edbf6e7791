/** Ed25519 and its keys: PKCS#11 v3.0 §2.3.13; RFC 8032. */
import { generateKeyPairSync, sign, verify } from 'node:crypto';

import { ed25519ctx, ed25519ph } from '@noble/curves/ed25519.js';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import type { Attributes } from '../attributes.ts';
import { requireEd25519 } from '../curves.ts';
import { panicOr } from '../failure.ts';
import { attempt, privateKeyOf, publicKeyOf, required } from '../keys.ts';
import type { Mechanism, Signer, Start, Verifier } from '../processing.ts';
import { readParameter } from './parameters.ts';

const SIGNATURE_BYTES = 64;
const MAX_CONTEXT_BYTES = 255;
const keyTypes = [CKK.EC_EDWARDS];

export const EDDSA: readonly Mechanism[] = [
  { id: CKM.EC_EDWARDS_KEY_PAIR_GEN, keyTypes, generatePair },
  { id: CKM.EDDSA, keyTypes, sign: signer, verify: verifier },
];

/** Which of RFC 8032's three: plain, with a context, or over a hash of the message. */
interface Variant {
  readonly isPrehashed: boolean;
  readonly context: Uint8Array;
}

function signer(start: Start): Signer {
  const { key } = start;
  requireEd25519(key.attributes);
  const { isPrehashed, context } = readVariant(start);
  const seed = required(key.attributes, CKA.VALUE);
  const isPlain = !isPrehashed && context.byteLength === 0;
  const other = isPrehashed ? ed25519ph : ed25519ctx;
  const privateKey = privateKeyOf(key);
  return {
    does: 'sign',
    signatureBytes: SIGNATURE_BYTES,
    sign: (data) =>
      isPlain
        ? attempt(CKR.GENERAL_ERROR, () => sign(null, data, privateKey))
        : other.sign(data, seed, { context }),
  };
}

function verifier(start: Start): Verifier {
  const { key } = start;
  requireEd25519(key.attributes);
  const { isPrehashed, context } = readVariant(start);
  const point = required(key.attributes, CKA.EC_POINT);
  const isPlain = !isPrehashed && context.byteLength === 0;
  const other = isPrehashed ? ed25519ph : ed25519ctx;
  const publicKey = publicKeyOf(key);
  return {
    does: 'verify',
    signatureBytes: SIGNATURE_BYTES,
    takesLength: () => true,
    verify: (data, signature) => {
      if (signature.byteLength !== SIGNATURE_BYTES) return false;
      return isPlain
        ? attempt(CKR.GENERAL_ERROR, () => verify(null, data, publicKey, signature))
        : other.verify(signature, data, point, { context });
    },
  };
}

/** No parameter at all means plain Ed25519; OP-TEE wants to be told so. */
function readVariant({ parameter, mode }: Start): Variant {
  if (parameter.byteLength === 0 && mode === 'default') {
    return { isPrehashed: false, context: parameter };
  }
  const { isPrehashed, context } = readParameter(parameter, CKR.ARGUMENTS_BAD, (reader) => ({
    isPrehashed: reader.u32() !== 0,
    context: Uint8Array.from(reader.counted()),
  }));
  if (context.byteLength > MAX_CONTEXT_BYTES) {
    panicOr(mode, CKR.MECHANISM_PARAM_INVALID, 'a context of more than 255 bytes');
  }
  return { isPrehashed, context };
}

function generatePair(publicKey: Attributes, privateKey: Attributes): void {
  requireEd25519(publicKey);
  const { x, d } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  if (x === undefined || d === undefined) throw new Error('an Ed25519 JWK has x and d');
  const point = Buffer.from(x, 'base64url');
  publicKey.set(CKA.EC_POINT, point);
  privateKey.set(CKA.EC_PARAMS, required(publicKey, CKA.EC_PARAMS));
  privateKey.set(CKA.VALUE, Buffer.from(d, 'base64url'));
  privateKey.set(CKA.EC_POINT, point);
}
