/**
 * Whether a key may be used for what is asked, and for which half of a pair that is.
 *
 * Source: OP-TEE ta/pkcs11/src/pkcs11_attributes.c, `check_parent_attrs_against_processing`.
 */
import { CKA } from './abi-attributes.ts';
import { CKK, CKO, CKR } from './abi.ts';
import { ArgReader } from './args.ts';
import { TaFailure } from './failure.ts';
import type { P11Object } from './object.ts';
import type { Mechanism } from './processing.ts';

export type Use = 'sign' | 'verify' | 'encrypt' | 'decrypt' | 'derive' | 'wrap' | 'unwrap';

interface Rule {
  /** The boolean that must be true. */
  readonly permission: number;
  /** Which of a pair it takes; a secret key is both. */
  readonly half: number;
}

const RULES: Readonly<Record<Use, Rule>> = {
  sign: { permission: CKA.SIGN, half: CKO.PRIVATE_KEY },
  verify: { permission: CKA.VERIFY, half: CKO.PUBLIC_KEY },
  encrypt: { permission: CKA.ENCRYPT, half: CKO.PUBLIC_KEY },
  decrypt: { permission: CKA.DECRYPT, half: CKO.PRIVATE_KEY },
  derive: { permission: CKA.DERIVE, half: CKO.PRIVATE_KEY },
  wrap: { permission: CKA.WRAP, half: CKO.PUBLIC_KEY },
  unwrap: { permission: CKA.UNWRAP, half: CKO.PRIVATE_KEY },
};

const PAIR_KEY_TYPES: ReadonlySet<number> = new Set([CKK.RSA, CKK.EC, CKK.EC_EDWARDS]);

/**
 * @throws TaFailure KEY_FUNCTION_NOT_PERMITTED if the key, its half of the pair or its list of
 *   mechanisms does not allow it, or the mechanism takes another type of secret key
 * @throws TaFailure KEY_TYPE_INCONSISTENT if the mechanism takes another type of pair
 */
export function requireUse({ attributes }: P11Object, mechanism: Mechanism, use: Use): void {
  const { permission, half } = RULES[use];
  if (!attributes.boolean(permission)) throw new TaFailure(CKR.KEY_FUNCTION_NOT_PERMITTED);
  const isType = mechanism.keyTypes.includes(attributes.keyType ?? -1);
  if (!isType) {
    const takesPairs = mechanism.keyTypes.some((type) => PAIR_KEY_TYPES.has(type));
    const { KEY_FUNCTION_NOT_PERMITTED, KEY_TYPE_INCONSISTENT } = CKR;
    throw new TaFailure(takesPairs ? KEY_TYPE_INCONSISTENT : KEY_FUNCTION_NOT_PERMITTED);
  }
  const objectClass = attributes.objectClass;
  if (objectClass !== CKO.SECRET_KEY && objectClass !== half) {
    throw new TaFailure(CKR.KEY_FUNCTION_NOT_PERMITTED);
  }
  const allowed = attributes.get(CKA.ALLOWED_MECHANISMS);
  if (allowed !== undefined && !listsWord(allowed, mechanism.id)) {
    throw new TaFailure(CKR.KEY_FUNCTION_NOT_PERMITTED);
  }
}

function listsWord(list: Uint8Array, word: number): boolean {
  const reader = new ArgReader(list);
  while (reader.leftBytes > 0) if (reader.u32() === word) return true;
  return false;
}
