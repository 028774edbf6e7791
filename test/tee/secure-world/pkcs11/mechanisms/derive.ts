/** Keys derived from keys: PKCS#11 v2.40 §2.3.11 (ECDH) and §2.15 (by encrypting data with AES). */
import { createECDH } from 'node:crypto';

import { CKA } from '../abi-attributes.ts';
import { CKM } from '../abi-mechanisms.ts';
import { CKK, CKR } from '../abi.ts';
import { curveOf } from '../curves.ts';
import { TaFailure } from '../failure.ts';
import { attempt, padded, required } from '../keys.ts';
import type { Mechanism, Start } from '../processing.ts';
import { aesKey, AES_BLOCK_BYTES, encryptBlocks } from './aes.ts';
import { readParameter } from './parameters.ts';

/** The secret is the x coordinate itself. OP-TEE has no other. */
const CKD_NULL = 1;

export const DERIVATIONS: readonly Mechanism[] = [
  { id: CKM.ECDH1_DERIVE, keyTypes: [CKK.EC], derive: ecdh },
  { id: CKM.AES_ECB_ENCRYPT_DATA, keyTypes: [CKK.AES], derive: (start) => encrypted(start, 'ecb') },
  { id: CKM.AES_CBC_ENCRYPT_DATA, keyTypes: [CKK.AES], derive: (start) => encrypted(start, 'cbc') },
];

/**
 * CK_ECDH1_DERIVE_PARAMS: derivation function, shared data (none), the other's public point.
 *
 * A point in a DER OCTET STRING, which PKCS#11 allows, kills OP-TEE's TA; here it is refused.
 */
function ecdh({ parameter, key }: Start): Uint8Array {
  const curve = curveOf(key.attributes);
  const point = readParameter(parameter, (reader) => {
    const kdf = reader.u32();
    const sharedBytes = reader.u32();
    if (kdf !== CKD_NULL || sharedBytes !== 0) throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
    return reader.counted();
  });
  if (point.byteLength !== 2 * curve.bytes + 1 || point[0] !== 0x04) {
    throw new TaFailure(CKR.MECHANISM_PARAM_INVALID);
  }
  const own = createECDH(curve.name);
  return attempt(CKR.MECHANISM_PARAM_INVALID, () => {
    own.setPrivateKey(padded(required(key.attributes, CKA.VALUE), curve.bytes));
    return own.computeSecret(point);
  });
}

function encrypted(start: Start, name: 'ecb' | 'cbc'): Uint8Array {
  const { parameter, key } = start;
  // A key that also encrypts for callers would tell them what it derives: OP-TEE refuses it.
  if (key.attributes.boolean(CKA.ENCRYPT)) throw new TaFailure(CKR.FUNCTION_FAILED);
  const { vector, data } = readParameter(parameter, (reader) => ({
    vector: name === 'cbc' ? Uint8Array.from(reader.bytes(AES_BLOCK_BYTES)) : null,
    data: reader.counted(),
  }));
  if (data.byteLength === 0 || data.byteLength % AES_BLOCK_BYTES !== 0) {
    throw new TaFailure(CKR.DATA_LEN_RANGE);
  }
  return encryptBlocks(name, aesKey(start), vector, data);
}
