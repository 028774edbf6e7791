/**
 * Templates: what a client asks an object to be.
 *
 * A template is read once into attributes that are known, have the size they must have and do not
 * contradict one another; nothing later looks at the client's bytes again.
 *
 * Source: OP-TEE ta/pkcs11/src/sanitize_object.c.
 */
import { BOOLEANS, CKA, INDIRECT, KNOWN, WORDS } from './abi-attributes.ts';
import { CKC_X_509, CKK, CKO, CKR } from './abi.ts';
import { ArgReader } from './args.ts';
import { Attributes, readAttributeList, sameBytes, type Attribute } from './attributes.ts';
import { TaFailure } from './failure.ts';
import type { Mode } from './mode.ts';

/** Templates in templates: a limit, because each level costs a call. */
const MAX_DEPTH = 5;

/** What the mechanism implies where the template is silent. */
export interface Hints {
  readonly objectClass?: number;
  readonly keyType?: number;
}

/**
 * Of two values for one attribute the first counts, unless it is a class, a type or a boolean:
 * those must agree.
 *
 * @throws TaFailure TEMPLATE_INCONSISTENT for an unknown attribute, a wrong size, or a contradiction
 * @throws TaFailure FUNCTION_FAILED for a boolean of a wrong size
 */
export function sanitize(
  template: readonly Attribute[],
  mode: Mode,
  hints: Hints = {},
): Attributes {
  const attributes = new Attributes();
  // Class and type first, then booleans, then the rest: the order in which OP-TEE stores them.
  const isKind = ({ id }: Attribute): boolean => id === CKA.CLASS || isTypeId(id);
  for (const attribute of template.filter(isKind)) add(attributes, attribute, mode);
  if (hints.objectClass !== undefined && !attributes.has(CKA.CLASS)) {
    attributes.setWord(CKA.CLASS, hints.objectClass);
  }
  if (hints.keyType !== undefined && !attributes.has(CKA.KEY_TYPE)) {
    attributes.setWord(CKA.KEY_TYPE, hints.keyType);
  }
  for (const attribute of template)
    if (BOOLEANS.has(attribute.id)) add(attributes, attribute, mode);
  for (const attribute of template) {
    if (!BOOLEANS.has(attribute.id) && !isKind(attribute)) add(attributes, attribute, mode);
  }
  return attributes;
}

/**
 * Checks that class and type name an object this TA can hold. A certificate's type that is missing is
 * for the shape of the class to complain about.
 *
 * @throws TaFailure TEMPLATE_INCONSISTENT
 */
export function requireKnownKind(attributes: Attributes): void {
  const types = TYPES_OF_CLASS.get(attributes.objectClass ?? -1);
  if (types === undefined) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  const isCertificate = attributes.objectClass === CKO.CERTIFICATE;
  const type = attributes.word(isCertificate ? CKA.CERTIFICATE_TYPE : CKA.KEY_TYPE);
  const isWrong = type === undefined ? !isCertificate : types !== 'none' && !types.has(type);
  if (types !== 'none' && isWrong) {
    throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  }
}

/**
 * A template, and what a key says in one of its own that its descendants must have.
 *
 * @throws TaFailure TEMPLATE_INCONSISTENT for two different wishes
 */
export function withInner(
  template: readonly Attribute[],
  parent: Attributes,
  innerId: number,
): readonly Attribute[] {
  const inner = parent.get(innerId);
  if (inner === undefined || inner.byteLength === 0) return template;
  const wanted = readAttributeList(new ArgReader(inner));
  const isRefused = template.some(({ id, value }) =>
    wanted.some((other) => other.id === id && !sameBytes(other.value, value)),
  );
  if (isRefused) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  return [...template, ...wanted];
}

const HMAC_KEY_TYPES: readonly number[] = [
  CKK.MD5_HMAC,
  CKK.SHA_1_HMAC,
  CKK.SHA224_HMAC,
  CKK.SHA256_HMAC,
  CKK.SHA384_HMAC,
  CKK.SHA512_HMAC,
];
export const SECRET_KEY_TYPES: readonly number[] = [CKK.GENERIC_SECRET, CKK.AES, ...HMAC_KEY_TYPES];
const PAIR_KEY_TYPES: ReadonlySet<number> = new Set([CKK.RSA, CKK.EC, CKK.EC_EDWARDS]);

const TYPES_OF_CLASS: ReadonlyMap<number, ReadonlySet<number> | 'none'> = new Map<
  number,
  ReadonlySet<number> | 'none'
>([
  [CKO.DATA, 'none'],
  [CKO.CERTIFICATE, new Set([CKC_X_509])],
  [CKO.SECRET_KEY, new Set(SECRET_KEY_TYPES)],
  [CKO.PUBLIC_KEY, PAIR_KEY_TYPES],
  [CKO.PRIVATE_KEY, PAIR_KEY_TYPES],
]);

function isTypeId(id: number): boolean {
  return id === CKA.KEY_TYPE || id === CKA.CERTIFICATE_TYPE;
}

function add(attributes: Attributes, { id, value }: Attribute, mode: Mode): void {
  requireWellFormed(id, value, mode, 0);
  const isBoolean = BOOLEANS.has(id);
  const normal = isBoolean ? Uint8Array.of(value[0] === 0 ? 0 : 1) : value;
  const present = attributes.get(id);
  if (present === undefined) {
    attributes.set(id, normal);
    return;
  }
  const mustAgree = isBoolean || id === CKA.CLASS || isTypeId(id);
  if (mustAgree && !sameBytes(present, normal)) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
}

function requireWellFormed(id: number, value: Uint8Array, mode: Mode, depth: number): void {
  if (BOOLEANS.has(id) && value.byteLength !== 1) throw new TaFailure(CKR.FUNCTION_FAILED);
  if (!KNOWN.has(id) || !hasRightSize(id, value.byteLength, mode)) {
    throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  }
  if (!INDIRECT.has(id)) return;
  if (depth >= MAX_DEPTH) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  const reader = new ArgReader(value);
  for (const inner of readAttributeList(reader)) {
    requireWellFormed(inner.id, inner.value, mode, depth + 1);
  }
  reader.end();
}

/** OP-TEE takes four bytes for a date; CK_DATE has eight, or none when there is no date. */
function hasRightSize(id: number, bytes: number, mode: Mode): boolean {
  const isDate = id === CKA.START_DATE || id === CKA.END_DATE;
  if (isDate && mode === 'default' && (bytes === 0 || bytes === 8)) return true;
  return !WORDS.has(id) || bytes === 4;
}
