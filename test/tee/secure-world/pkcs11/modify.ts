/**
 * Which attributes may change after an object exists, on C_SetAttributeValue and C_CopyObject.
 *
 * The direction matters: a key may become harder to read, never easier.
 *
 * Source: PKCS#11 v2.40 §4.1.1 and §4.4 to §4.9; OP-TEE ta/pkcs11/src/pkcs11_attributes.c
 * (`attribute_is_modifiable`).
 */
import { CKA } from './abi-attributes.ts';
import { CKO, CKR } from './abi.ts';
import { sameBytes, type Attributes } from './attributes.ts';
import { TaFailure } from './failure.ts';

export type Change = 'set' | 'copy';

const KEY: readonly number[] = [CKA.ID, CKA.START_DATE, CKA.END_DATE, CKA.DERIVE];
/** Per class: what anyone who may write the object may set to anything. */
const FREELY: ReadonlyMap<number, ReadonlySet<number>> = new Map([
  [CKO.DATA, new Set<number>()],
  [CKO.CERTIFICATE, new Set<number>()],
  [
    CKO.SECRET_KEY,
    new Set([...KEY, CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP]),
  ],
  [
    CKO.PUBLIC_KEY,
    new Set([...KEY, CKA.SUBJECT, CKA.ENCRYPT, CKA.VERIFY, CKA.VERIFY_RECOVER, CKA.WRAP]),
  ],
  [
    CKO.PRIVATE_KEY,
    new Set([
      ...KEY,
      CKA.SUBJECT,
      CKA.DECRYPT,
      CKA.SIGN,
      CKA.SIGN_RECOVER,
      CKA.UNWRAP,
      CKA.PUBLIC_KEY_INFO,
    ]),
  ],
]);

/**
 * @param isSo - the session is the security officer's
 * @throws TaFailure ATTRIBUTE_TYPE_INVALID if the object has no such attribute
 * @throws TaFailure ATTRIBUTE_READ_ONLY if one attribute of `template` may not change
 * @throws TaFailure TEMPLATE_INCONSISTENT for a copy that would publish a private object
 */
export function requireModifiable(
  current: Attributes,
  template: Attributes,
  change: Change,
  isSo: boolean,
): void {
  for (const { id, value } of template) {
    if (!current.has(id)) throw new TaFailure(CKR.ATTRIBUTE_TYPE_INVALID);
    if (!mayChange(current, id, change, isSo)) throw new TaFailure(CKR.ATTRIBUTE_READ_ONLY);
    if (id === CKA.PRIVATE && current.boolean(CKA.PRIVATE) && sameBytes(value, FALSE)) {
      throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
    }
  }
}

const FALSE = Uint8Array.of(0);

function mayChange(current: Attributes, id: number, change: Change, isSo: boolean): boolean {
  switch (id) {
    case CKA.TOKEN:
    case CKA.PRIVATE:
    case CKA.MODIFIABLE:
    case CKA.DESTROYABLE:
      return change === 'copy';
    case CKA.COPYABLE:
      return current.boolean(CKA.COPYABLE);
    case CKA.LABEL:
      return true;
    case CKA.TRUSTED:
      return isSo;
    default:
      return mayChangeInClass(current, id);
  }
}

function mayChangeInClass(current: Attributes, id: number): boolean {
  const objectClass = current.objectClass ?? CKO.DATA;
  if (FREELY.get(objectClass)?.has(id) === true) return true;
  if (objectClass !== CKO.SECRET_KEY && objectClass !== CKO.PRIVATE_KEY) return false;
  switch (id) {
    case CKA.EXTRACTABLE:
      return current.boolean(id);
    case CKA.SENSITIVE:
    case CKA.WRAP_WITH_TRUSTED:
      return !current.boolean(id);
    case CKA.CHECK_VALUE:
      // It can be dropped. Else it is compared, so that what it says stays true.
      return objectClass === CKO.SECRET_KEY;
    default:
      return false;
  }
}
