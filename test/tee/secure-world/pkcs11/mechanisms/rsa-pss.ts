/** RSA-PSS, over data and over a digest: PKCS#11 v2.40 §2.1.10 and §2.1.11; RFC 8017 §8.1. */
import { constants, privateEncrypt, publicDecrypt, randomBytes } from 'node:crypto';

import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { panicOr, TaFailure } from '../failure.ts';
import { attempt, privateKeyOf, publicKeyOf } from '../keys.ts';
import type { Mode } from '../mode.ts';
import type { Mechanism, Signer, Start, Verifier } from '../processing.ts';
import { modulusBits, modulusBytes } from '../rsa-key.ts';
import { encodePss, isPssOf, type PssForm } from './emsa-pss.ts';
import { HASHES, SHA1, SHA224, SHA256, SHA384, SHA512, type Hash } from './hashes.ts';
import { hashingSigner, hashingVerifier, type SignatureForm } from './hash-and-sign.ts';
import { readParameter } from './parameters.ts';

const { RSA_NO_PADDING, RSA_PKCS1_PSS_PADDING } = constants;
const NO_ROOM = 'an RSA key shorter than hash and salt';
const keyTypes = [CKK.RSA];

export const RSA_PSS: readonly Mechanism[] = [
  { id: CKM.RSA_PKCS_PSS, keyTypes, sign: digestSigner, verify: digestVerifier },
  hashing(CKM.SHA1_RSA_PKCS_PSS, SHA1),
  hashing(CKM.SHA224_RSA_PKCS_PSS, SHA224),
  hashing(CKM.SHA256_RSA_PKCS_PSS, SHA256),
  hashing(CKM.SHA384_RSA_PKCS_PSS, SHA384),
  hashing(CKM.SHA512_RSA_PKCS_PSS, SHA512),
];

function hashing(id: number, hash: Hash): Mechanism {
  const formOf = (start: Start): SignatureForm => {
    const form = readForm(start, hash);
    return { padding: RSA_PKCS1_PSS_PADDING, saltLength: form.saltBytes };
  };
  return {
    id,
    keyTypes,
    sign: (start) => {
      const { key } = start;
      const size = modulusBytes(key.attributes);
      return hashingSigner(hash.name, privateKeyOf(key), size, formOf(start));
    },
    verify: (start) => {
      const { key } = start;
      const size = modulusBytes(key.attributes);
      return hashingVerifier(hash.name, publicKeyOf(key), size, formOf(start));
    },
  };
}

function digestSigner(start: Start): Signer {
  const { mode, key } = start;
  const form = readForm(start);
  const signatureBytes = modulusBytes(key.attributes);
  const privateKey = privateKeyOf(key);
  return {
    does: 'sign',
    signatureBytes,
    sign: (digest) => {
      requireDigest(digest, form, mode);
      const em = encodePss(digest, randomBytes(form.saltBytes), form);
      if (em === undefined) return panicOr(mode, CKR.KEY_SIZE_RANGE, NO_ROOM);
      const block = Buffer.concat([Buffer.alloc(signatureBytes - em.byteLength), em]);
      return attempt(CKR.GENERAL_ERROR, () =>
        privateEncrypt({ key: privateKey, padding: RSA_NO_PADDING }, block),
      );
    },
  };
}

function digestVerifier(start: Start): Verifier {
  const { mode, key } = start;
  const form = readForm(start);
  const signatureBytes = modulusBytes(key.attributes);
  const publicKey = publicKeyOf(key);
  return {
    does: 'verify',
    signatureBytes,
    verify: (digest, signature) => {
      requireDigest(digest, form, mode);
      const block = attempt(CKR.SIGNATURE_INVALID, () =>
        publicDecrypt({ key: publicKey, padding: RSA_NO_PADDING }, signature),
      );
      const emBytes = Math.ceil(form.emBits / 8);
      const excess = block.subarray(0, block.byteLength - emBytes);
      return excess.every((byte) => byte === 0) && isPssOf(digest, block.subarray(-emBytes), form);
    },
  };
}

/** CK_RSA_PKCS_PSS_PARAMS: hash mechanism, mask generation function, bytes of salt. */
function readForm({ parameter, key, mode }: Start, wanted?: Hash): PssForm {
  const [hashMechanism, mgf, saltBytes] = readParameter(
    parameter,
    CKR.FUNCTION_FAILED,
    (reader) => [reader.u32(), reader.u32(), reader.u32()] as const,
  );
  const hash = HASHES.find(({ mechanism }) => mechanism === hashMechanism);
  // OP-TEE reports every disagreement between mechanism and parameters this way.
  if (hash === undefined || hash.mgf === 0 || hash.mgf !== mgf || hash !== (wanted ?? hash)) {
    throw new TaFailure(CKR.FUNCTION_FAILED);
  }
  const emBits = modulusBits(key.attributes) - 1;
  const room = Math.ceil(emBits / 8) - 2 - hash.bytes;
  // OP-TEE's subtraction wraps around, so it finds out when it signs.
  const isUnnoticed = mode === 'strict' && room < 0;
  if (saltBytes > room && !isUnnoticed) throw new TaFailure(CKR.KEY_SIZE_RANGE);
  return { hash, saltBytes, emBits };
}

function requireDigest(digest: Uint8Array, { hash }: PssForm, mode: Mode): void {
  if (digest.byteLength === hash.bytes) return;
  panicOr(mode, CKR.DATA_LEN_RANGE, 'a digest of a length that its hash does not have');
}
