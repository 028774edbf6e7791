/**
 * From a template to attributes: what every way of making an object has in common.
 *
 * Source: OP-TEE ta/pkcs11/src/pkcs11_attributes.c (`create_attributes_from_template`,
 * `check_created_attrs_against_token`).
 */
import { CKA } from './abi-attributes.ts';
import { CKK, CKO, CKR, CKU, UNAVAILABLE } from './abi.ts';
import { Attributes, type Attribute } from './attributes.ts';
import { checkCheckValue } from './check-value.ts';
import { curveOf } from './curves.ts';
import { octetString } from './der.ts';
import { panic, renaming, TaFailure } from './failure.ts';
import { attempt, ecPublicPoint } from './keys.ts';
import type { Mode } from './mode.ts';
import { P11Object } from './object.ts';
import type { Session } from './session.ts';
import { shaped } from './shapes.ts';
import { requireKnownKind, sanitize, type Hints } from './template.ts';

/** Attributes for an object whose values the client brings. */
export function importedAttributes(template: readonly Attribute[], mode: Mode): Attributes {
  const sanitized = checked(template, mode, {});
  const attributes = shaped(sanitized);
  if (attributes.objectClass === CKO.SECRET_KEY) {
    // A secret's length is what its value says: PKCS#11 v2.40 §2.7.
    if (sanitized.has(CKA.VALUE_LEN)) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
    const value = attributes.get(CKA.VALUE) ?? new Uint8Array();
    if (value.byteLength === 0) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
    giveSecret(attributes, value);
  }
  if (attributes.objectClass === CKO.PUBLIC_KEY) checkModulus(attributes, sanitized);
  if (attributes.objectClass === CKO.PRIVATE_KEY) giveHiddenPoint(attributes);
  markOrigin(attributes, UNAVAILABLE, { isSensitive: false, isUnextractable: false });
  if (attributes.objectClass === CKO.CERTIFICATE) checkCertificate(attributes, mode);
  return attributes;
}

interface Making {
  readonly mode: Mode;
  /** What makes it. */
  readonly mechanism: number;
  readonly kind: Required<Hints>;
  /** What the template need not say; all of `kind` when it is left out. */
  readonly hints?: Hints;
}

/**
 * Attributes for a key that the TA is about to make.
 *
 * @throws TaFailure TEMPLATE_INCONSISTENT when the template wants another kind of key
 */
export function generatedAttributes(
  template: readonly Attribute[],
  { mode, mechanism, kind, hints = kind }: Making,
): Attributes {
  const sanitized = checked(template, mode, hints);
  if (sanitized.objectClass !== kind.objectClass || sanitized.keyType !== kind.keyType) {
    throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  }
  const attributes = shaped(sanitized);
  markOrigin(attributes, mechanism, { isSensitive: true, isUnextractable: true });
  return attributes;
}

/**
 * Attributes for a key that comes out of another: derived, or unwrapped.
 *
 * @param parent - the history of a derived key is its parent's too; an unwrapped key has none
 */
export function descendantAttributes(
  template: readonly Attribute[],
  mode: Mode,
  parent?: Attributes,
): Attributes {
  const attributes = shaped(checked(template, mode, {}));
  const isKey =
    attributes.objectClass === CKO.SECRET_KEY || attributes.objectClass === CKO.PRIVATE_KEY;
  if (!isKey) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  markOrigin(attributes, UNAVAILABLE, {
    isSensitive: parent?.boolean(CKA.ALWAYS_SENSITIVE) ?? false,
    isUnextractable: parent?.boolean(CKA.NEVER_EXTRACTABLE) ?? false,
  });
  return attributes;
}

/** Gives a secret key its value, and what follows from it. @throws TaFailure TEMPLATE_INCOMPLETE */
export function giveSecret(attributes: Attributes, value: Uint8Array): void {
  if (value.byteLength === 0) throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
  attributes.set(CKA.VALUE, value);
  attributes.setWord(CKA.VALUE_LEN, value.byteLength);
  checkCheckValue(attributes);
}

/**
 * @throws TaFailure KEY_FUNCTION_NOT_PERMITTED if anyone but the SO trusts
 * @throws TaFailure SESSION_READ_ONLY for a token object in a read-only session
 * @throws TaFailure USER_NOT_LOGGED_IN for a private object without the user
 */
export function requireMayCreate(session: Session, attributes: Attributes): void {
  if (attributes.boolean(CKA.TRUSTED) && session.user !== CKU.SO) {
    throw new TaFailure(CKR.KEY_FUNCTION_NOT_PERMITTED);
  }
  if (attributes.boolean(CKA.TOKEN) && !session.isReadWrite) {
    throw new TaFailure(CKR.SESSION_READ_ONLY);
  }
  if (!session.mayAccess(new P11Object(attributes))) throw new TaFailure(CKR.USER_NOT_LOGGED_IN);
}

function checked(template: readonly Attribute[], mode: Mode, hints: Hints): Attributes {
  const sanitized = sanitize(template, mode, hints);
  requireKnownKind(sanitized);
  // Set by the TA alone; what is no key has no generator, and drops that one.
  const isKey = sanitized.keyType !== undefined;
  const isForbidden = sanitized.has(CKA.LOCAL) || (isKey && sanitized.has(CKA.KEY_GEN_MECHANISM));
  if (isForbidden) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  return new Attributes([...sanitized].filter(({ id }) => id !== CKA.HIDDEN_EC_POINT));
}

/** An RSA public key says its length; OP-TEE computes it, whatever the template says. */
function checkModulus(attributes: Attributes, template: Attributes): void {
  if (attributes.keyType !== CKK.RSA) return;
  const modulus = template.get(CKA.MODULUS);
  if (modulus === undefined || !template.has(CKA.PUBLIC_EXPONENT)) {
    throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
  }
  if (modulus.byteLength === 0) throw new TaFailure(CKR.ATTRIBUTE_TYPE_INVALID);
  attributes.setWord(CKA.MODULUS_BITS, 8 * modulus.byteLength);
}

/** PKCS#11 v2.40 §4.6.3 lets a URL stand for the value; OP-TEE looks for the value all the same. */
function checkCertificate(attributes: Attributes, mode: Mode): void {
  const isSuppressed = attributes.get(CKA.CHECK_VALUE)?.byteLength === 0;
  if (mode === 'strict' && !isSuppressed) {
    const value = attributes.get(CKA.VALUE);
    if (value === undefined) throw new TaFailure(CKR.NOT_FOUND);
    if (value.byteLength === 0) throw panic('a certificate without a value');
  }
  checkCheckValue(attributes);
}

/** An Edwards private key brings its point. Another one's is computed, so it must be a key. */
function giveHiddenPoint(attributes: Attributes): void {
  if (attributes.keyType !== CKK.EC) return;
  if (attributes.get(CKA.EC_PARAMS)?.byteLength === 0) {
    throw new TaFailure(CKR.ATTRIBUTE_TYPE_INVALID);
  }
  const curve = renaming(UNKNOWN_CURVE, () => curveOf(attributes));
  const point = attempt(CKR.ATTRIBUTE_TYPE_INVALID, () =>
    ecPublicPoint(curve, attributes.get(CKA.VALUE) ?? new Uint8Array()),
  );
  attributes.set(CKA.HIDDEN_EC_POINT, octetString(point));
}

const UNKNOWN_CURVE: ReadonlyMap<number, number> = new Map([
  [CKR.ATTRIBUTE_TYPE_INVALID, CKR.CURVE_NOT_SUPPORTED],
]);

/** Whether the key can have been safe all its life. */
interface History {
  readonly isSensitive: boolean;
  readonly isUnextractable: boolean;
}

/** @param mechanism - what made the key here; UNAVAILABLE when nothing did */
function markOrigin(attributes: Attributes, mechanism: number, history: History): void {
  attributes.setBoolean(CKA.LOCAL, mechanism !== UNAVAILABLE);
  if (attributes.keyType === undefined) return;
  const isSensitive = history.isSensitive && attributes.boolean(CKA.SENSITIVE);
  const isUnextractable = history.isUnextractable && !attributes.boolean(CKA.EXTRACTABLE);
  attributes.setBoolean(CKA.ALWAYS_SENSITIVE, isSensitive);
  attributes.setBoolean(CKA.NEVER_EXTRACTABLE, isUnextractable);
  attributes.setWord(CKA.KEY_GEN_MECHANISM, mechanism);
}
