/** Keys derived from keys: PKCS#11 v2.40 §2.3.11 (ECDH) and §2.15 (by encrypting data with AES). */
import { createECDH } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { curveOf } from '../curves.ts';
import { readOctetString } from '../der.ts';
import { panicOr, TaFailure } from '../failure.ts';
import { attempt, padded, required } from '../keys.ts';
import type { P11Object } from '../object.ts';
import type { Mechanism, Start } from '../processing.ts';
import { SECRET_KEY_TYPES } from '../template.ts';
import { aesKey, AES_BLOCK_BYTES, encryptBlocks } from './aes.ts';
import { readParameter } from './parameters.ts';

/** The secret is the x coordinate itself. OP-TEE has no other. */
const CKD_NULL = 1;
/** OP-TEE counts a point's bytes as DER would, in one byte, and goes no further: no P-521. */
const MAX_STRICT_POINT_BYTES = 0x80;
/** The first byte of such a point: SEC 1 v2.0 §2.3.3. */
const UNCOMPRESSED = 0x04;

export const DERIVATIONS: readonly Mechanism[] = [
  { id: CKM.ECDH1_DERIVE, keyTypes: [CKK.EC], derive: ecdh },
  {
    id: CKM.AES_ECB_ENCRYPT_DATA,
    keyTypes: SECRET_KEY_TYPES,
    checkParent: requireNoEncryption,
    derive: (start) => encrypted(start, 'ecb'),
  },
  {
    id: CKM.AES_CBC_ENCRYPT_DATA,
    keyTypes: SECRET_KEY_TYPES,
    checkParent: requireNoEncryption,
    derive: (start) => encrypted(start, 'cbc'),
  },
];

/**
 * CK_ECDH1_DERIVE_PARAMS: derivation function, shared data (none), the other's public point.
 *
 * PKCS#11 lets the point be in a DER OCTET STRING. OP-TEE takes that for a longer point, which kills
 * it.
 */
function ecdh({ mode, parameter, key }: Start): Uint8Array {
  const curve = curveOf(key.attributes);
  if (parameter.byteLength === 0) throw new TaFailure(CKR.FUNCTION_FAILED);
  const given = readParameter(parameter, CKR.ARGUMENTS_BAD, (reader) => {
    if (reader.u32() !== CKD_NULL) throw new TaFailure(CKR.FUNCTION_FAILED);
    if (reader.u32() !== 0) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
    return reader.counted();
  });
  const isBare = mode === 'strict' || given.byteLength === 2 * curve.bytes + 1;
  const point = isBare ? given : (readOctetString(given) ?? given);
  const isKnown = point[0] === UNCOMPRESSED && point.byteLength <= MAX_STRICT_POINT_BYTES;
  if (mode === 'strict' && !isKnown) throw new TaFailure(CKR.ARGUMENTS_BAD);
  if (point.byteLength > 2 * curve.bytes + 1) {
    panicOr(mode, CKR.MECHANISM_PARAM_INVALID, 'a point that is longer than its curve');
  }
  const own = createECDH(curve.name);
  attempt(CKR.GENERAL_ERROR, () => {
    own.setPrivateKey(padded(required(key.attributes, CKA.VALUE), curve.bytes));
  });
  return attempt(CKR.MECHANISM_PARAM_INVALID, () => own.computeSecret(point));
}

/** A key that also encrypts for callers would tell them what it derives: OP-TEE refuses it. */
function requireNoEncryption({ attributes }: P11Object): void {
  if (attributes.boolean(CKA.ENCRYPT)) throw new TaFailure(CKR.FUNCTION_FAILED);
}

/** OP-TEE lets any secret key come this far: one that could be AES then kills it. */
function requireAes({ key, mode }: Start): void {
  const { attributes } = key;
  if (attributes.keyType === CKK.AES) return;
  const isOfSize = [16, 24, 32].includes(required(attributes, CKA.VALUE).byteLength);
  if (mode === 'strict' && !isOfSize) throw new TaFailure(CKR.MECHANISM_INVALID);
  panicOr(mode, CKR.KEY_TYPE_INCONSISTENT, 'AES derivation from a key that is not AES');
}

function encrypted(start: Start, name: 'ecb' | 'cbc'): Uint8Array {
  const { parameter } = start;
  requireAes(start);
  const { vector, data } = readParameter(parameter, CKR.ARGUMENTS_BAD, (reader) => ({
    vector: name === 'cbc' ? Uint8Array.from(reader.bytes(AES_BLOCK_BYTES)) : null,
    data: reader.counted(),
  }));
  if (data.byteLength % AES_BLOCK_BYTES !== 0) {
    throw new TaFailure(CKR.DATA_LEN_RANGE);
  }
  return encryptBlocks(name, aesKey(start), vector, data);
}
