/**
 * Which attributes an object of each class has. Data, and the one function that applies it.
 *
 * An attribute that the class does not have is dropped without a word, as OP-TEE does.
 *
 * Source: OP-TEE ta/pkcs11/src/pkcs11_attributes.c; PKCS#11 v2.40 §4.4 to §4.9.
 */
import { CKA } from './abi-attributes.ts';
import { CKK, CKO, CKR } from './abi.ts';
import { Attributes } from './attributes.ts';
import { TaFailure } from './failure.ts';

interface Shape {
  readonly mandatory?: readonly number[];
  /** Present with their default when the template is silent. */
  readonly booleans?: readonly number[];
  /** Present and empty when the template is silent. */
  readonly orEmpty?: readonly number[];
  /** Present only if the template has them. */
  readonly optional?: readonly number[];
}

/** Every other boolean is false by default: a key that nobody gave a use has none. */
const TRUE_BY_DEFAULT: ReadonlySet<number> = new Set([
  CKA.MODIFIABLE,
  CKA.COPYABLE,
  CKA.DESTROYABLE,
]);

const ANY: Shape = {
  booleans: [CKA.TOKEN, CKA.PRIVATE, CKA.MODIFIABLE, CKA.COPYABLE, CKA.DESTROYABLE],
  orEmpty: [CKA.LABEL],
};

const DATA: Shape = { orEmpty: [CKA.OBJECT_ID, CKA.APPLICATION, CKA.VALUE] };

const CERTIFICATE: Shape = {
  mandatory: [CKA.CERTIFICATE_TYPE, CKA.SUBJECT],
  booleans: [CKA.TRUSTED],
  optional: [
    CKA.ID,
    CKA.CERTIFICATE_CATEGORY,
    CKA.START_DATE,
    CKA.END_DATE,
    CKA.PUBLIC_KEY_INFO,
    CKA.ISSUER,
    CKA.SERIAL_NUMBER,
    CKA.VALUE,
    CKA.URL,
    CKA.HASH_OF_SUBJECT_PUBLIC_KEY,
    CKA.HASH_OF_ISSUER_PUBLIC_KEY,
    CKA.NAME_HASH_ALGORITHM,
    CKA.JAVA_MIDP_SECURITY_DOMAIN,
    CKA.CHECK_VALUE,
  ],
};

const KEY: Shape = {
  mandatory: [CKA.KEY_TYPE],
  booleans: [CKA.DERIVE],
  orEmpty: [CKA.ID, CKA.START_DATE, CKA.END_DATE],
  optional: [CKA.ALLOWED_MECHANISMS],
};

const SECRET: Shape = {
  booleans: [
    CKA.ENCRYPT,
    CKA.DECRYPT,
    CKA.SIGN,
    CKA.VERIFY,
    CKA.WRAP,
    CKA.UNWRAP,
    CKA.SENSITIVE,
    CKA.EXTRACTABLE,
    CKA.WRAP_WITH_TRUSTED,
    CKA.TRUSTED,
  ],
  orEmpty: [CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE, CKA.DERIVE_TEMPLATE, CKA.VALUE, CKA.VALUE_LEN],
  optional: [CKA.CHECK_VALUE],
};

const PUBLIC: Shape = {
  booleans: [CKA.ENCRYPT, CKA.VERIFY, CKA.VERIFY_RECOVER, CKA.WRAP, CKA.TRUSTED],
  orEmpty: [CKA.SUBJECT, CKA.WRAP_TEMPLATE, CKA.PUBLIC_KEY_INFO],
};

const PRIVATE: Shape = {
  booleans: [
    CKA.DECRYPT,
    CKA.SIGN,
    CKA.SIGN_RECOVER,
    CKA.UNWRAP,
    CKA.SENSITIVE,
    CKA.EXTRACTABLE,
    CKA.WRAP_WITH_TRUSTED,
    CKA.ALWAYS_AUTHENTICATE,
  ],
  orEmpty: [CKA.SUBJECT, CKA.UNWRAP_TEMPLATE, CKA.PUBLIC_KEY_INFO],
};

const RSA_PUBLIC: Shape = { orEmpty: [CKA.MODULUS_BITS, CKA.MODULUS, CKA.PUBLIC_EXPONENT] };
const RSA_PRIVATE: Shape = {
  orEmpty: [
    CKA.MODULUS,
    CKA.PUBLIC_EXPONENT,
    CKA.PRIVATE_EXPONENT,
    CKA.PRIME_1,
    CKA.PRIME_2,
    CKA.EXPONENT_1,
    CKA.EXPONENT_2,
    CKA.COEFFICIENT,
  ],
};
const EC_PUBLIC: Shape = { mandatory: [CKA.EC_PARAMS], orEmpty: [CKA.EC_POINT] };
/** A generated private key has its curve from the public template. */
const EC_PRIVATE: Shape = { orEmpty: [CKA.EC_PARAMS, CKA.VALUE], optional: [CKA.HIDDEN_EC_POINT] };
const EDWARDS_PRIVATE: Shape = { orEmpty: [CKA.EC_PARAMS, CKA.VALUE, CKA.EC_POINT] };

/**
 * Gives a sanitized template the shape of its class, defaults filled in.
 *
 * @throws TaFailure TEMPLATE_INCOMPLETE if a mandatory attribute is missing
 */
export function shaped(template: Attributes): Attributes {
  const attributes = new Attributes();
  attributes.setWord(CKA.CLASS, template.objectClass ?? CKO.DATA);
  for (const shape of shapesOf(template)) fill(attributes, shape, template);
  if (template.objectClass === CKO.CERTIFICATE) fillCertificate(attributes);
  return attributes;
}

function fill(attributes: Attributes, shape: Shape, template: Attributes): void {
  for (const id of shape.mandatory ?? []) take(template, attributes, id, 'required');
  for (const id of shape.booleans ?? []) {
    attributes.setBoolean(id, template.has(id) ? template.boolean(id) : TRUE_BY_DEFAULT.has(id));
  }
  for (const id of shape.orEmpty ?? []) attributes.set(id, template.get(id) ?? new Uint8Array());
  for (const id of shape.optional ?? []) take(template, attributes, id, 'optional');
}

function take(from: Attributes, to: Attributes, id: number, need: 'required' | 'optional'): void {
  const value = from.get(id);
  if (value !== undefined) to.set(id, value);
  else if (need === 'required') throw new TaFailure(CKR.TEMPLATE_INCOMPLETE);
}

/** @throws TaFailure ATTRIBUTE_VALUE_INVALID for a category that does not exist */
function fillCertificate(attributes: Attributes): void {
  // PKCS#11 v2.40 §4.6.3: unspecified category, SHA-1 as the default of the two hashes.
  const SHA_1 = 0x220;
  const OTHER_ENTITY = 3;
  if (!attributes.has(CKA.CERTIFICATE_CATEGORY)) attributes.setWord(CKA.CERTIFICATE_CATEGORY, 0);
  const category = attributes.word(CKA.CERTIFICATE_CATEGORY) ?? OTHER_ENTITY + 1;
  if (category > OTHER_ENTITY) throw new TaFailure(CKR.ATTRIBUTE_VALUE_INVALID);
  if (!attributes.has(CKA.NAME_HASH_ALGORITHM)) attributes.setWord(CKA.NAME_HASH_ALGORITHM, SHA_1);
}

function shapesOf(template: Attributes): readonly Shape[] {
  switch (template.objectClass) {
    case CKO.CERTIFICATE:
      return [ANY, CERTIFICATE];
    case CKO.SECRET_KEY:
      return [ANY, KEY, SECRET];
    case CKO.PUBLIC_KEY:
      return [ANY, KEY, PUBLIC, template.keyType === CKK.RSA ? RSA_PUBLIC : EC_PUBLIC];
    case CKO.PRIVATE_KEY:
      return [ANY, KEY, PRIVATE, privateShape(template.keyType)];
    default:
      return [ANY, DATA];
  }
}

function privateShape(keyType: number | undefined): Shape {
  if (keyType === CKK.RSA) return RSA_PRIVATE;
  return keyType === CKK.EC_EDWARDS ? EDWARDS_PRIVATE : EC_PRIVATE;
}
