/**
 * From a template to an object: what every way of making one has in common.
 *
 * Source: OP-TEE ta/pkcs11/src/pkcs11_attributes.c (`create_attributes_from_template`,
 * `check_created_attrs_against_token`) and object.c.
 */
import { CKA } from './abi-attributes.ts';
import { CKO, CKR, CKU, UNAVAILABLE } from './abi.ts';
import type { Attribute, Attributes } from './attributes.ts';
import { checkCheckValue } from './check-value.ts';
import { TaFailure } from './failure.ts';
import { P11Object } from './object.ts';
import type { Session } from './session.ts';
import { shaped } from './shapes.ts';
import { requireKnownKind, sanitize, type Hints } from './template.ts';

/** Set by the TA alone. */
const FORBIDDEN: readonly number[] = [CKA.LOCAL, CKA.KEY_GEN_MECHANISM, CKA.HIDDEN_EC_POINT];

/** Attributes for an object whose values the client brings. */
export function importedAttributes(template: readonly Attribute[]): Attributes {
  const sanitized = checked(template, {});
  const attributes = shaped(sanitized);
  if (attributes.objectClass === CKO.SECRET_KEY) takeSecret(sanitized, attributes);
  if (attributes.objectClass === CKO.PRIVATE_KEY) requireCurve(attributes);
  markOrigin(attributes, UNAVAILABLE);
  checkCheckValue(attributes);
  return attributes;
}

/**
 * Attributes for a key that the TA is about to make.
 *
 * @throws TaFailure TEMPLATE_INCONSISTENT when the template wants another kind of key
 */
export function generatedAttributes(
  template: readonly Attribute[],
  mechanism: number,
  kind: Required<Hints>,
  hints: Hints = kind,
): Attributes {
  const sanitized = checked(template, hints);
  if (sanitized.objectClass !== kind.objectClass || sanitized.keyType !== kind.keyType) {
    throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  }
  const attributes = shaped(sanitized);
  markOrigin(attributes, mechanism);
  return attributes;
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

/** Puts a finished object where its CKA_TOKEN says. @returns its handle */
export function place(session: Session, attributes: Attributes): number {
  if (!attributes.boolean(CKA.TOKEN)) return session.addObject(new P11Object(attributes));
  return session.client.publish(session.token.add(attributes));
}

/** Takes an object out of where it is. */
export function displace(session: Session, object: P11Object): void {
  if (object.home === undefined) {
    session.client.destroySessionObject(object);
  } else {
    session.token.remove(object);
    session.client.forget(object);
  }
}

function checked(template: readonly Attribute[], hints: Hints): Attributes {
  const sanitized = sanitize(template, hints);
  requireKnownKind(sanitized);
  if (FORBIDDEN.some((id) => sanitized.has(id))) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  return sanitized;
}

/** A secret's length is what its value says: PKCS#11 v2.40 §2.8.2. */
function takeSecret(template: Attributes, attributes: Attributes): void {
  if (template.has(CKA.VALUE_LEN)) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  const value = attributes.get(CKA.VALUE);
  if (value === undefined || value.byteLength === 0) throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
  attributes.setWord(CKA.VALUE_LEN, value.byteLength);
}

function requireCurve(attributes: Attributes): void {
  if (attributes.get(CKA.EC_PARAMS)?.byteLength === 0) throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
}

/** @param mechanism - what made the key; UNAVAILABLE when a client brought it */
function markOrigin(attributes: Attributes, mechanism: number): void {
  const isLocal = mechanism !== UNAVAILABLE;
  attributes.setBoolean(CKA.LOCAL, isLocal);
  if (attributes.keyType === undefined) return;
  const isSensitive = attributes.boolean(CKA.SENSITIVE);
  const isExtractable = attributes.boolean(CKA.EXTRACTABLE);
  attributes.setBoolean(CKA.ALWAYS_SENSITIVE, isLocal && isSensitive);
  attributes.setBoolean(CKA.NEVER_EXTRACTABLE, isLocal && !isExtractable);
  attributes.setWord(CKA.KEY_GEN_MECHANISM, mechanism);
}
