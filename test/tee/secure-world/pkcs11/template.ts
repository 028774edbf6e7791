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

/** Templates in templates: a limit, because each level costs a call. */
const MAX_DEPTH = 5;

/** What the mechanism implies where the template is silent. */
export interface Hints {
  readonly objectClass?: number;
  readonly keyType?: number;
}

/**
 * @throws TaFailure TEMPLATE_INCONSISTENT for an unknown attribute, a wrong size, or two different
 *   values for one attribute
 */
export function sanitize(template: readonly Attribute[], hints: Hints = {}): Attributes {
  const attributes = new Attributes();
  // Class and type first, then booleans, then the rest: the order in which OP-TEE stores them.
  const isKind = ({ id }: Attribute): boolean => id === CKA.CLASS || isTypeId(id);
  for (const attribute of template.filter(isKind)) add(attributes, attribute);
  if (hints.objectClass !== undefined && !attributes.has(CKA.CLASS)) {
    attributes.setWord(CKA.CLASS, hints.objectClass);
  }
  if (hints.keyType !== undefined && !attributes.has(CKA.KEY_TYPE)) {
    attributes.setWord(CKA.KEY_TYPE, hints.keyType);
  }
  for (const attribute of template) if (BOOLEANS.has(attribute.id)) add(attributes, attribute);
  for (const attribute of template) {
    if (!BOOLEANS.has(attribute.id) && !isKind(attribute)) add(attributes, attribute);
  }
  return attributes;
}

/**
 * Checks that class and type name an object this TA can hold. A type that is missing is for the
 * shape of the class to complain about.
 *
 * @throws TaFailure TEMPLATE_INCONSISTENT
 */
export function requireKnownKind(attributes: Attributes): void {
  const types = TYPES_OF_CLASS.get(attributes.objectClass ?? -1);
  if (types === undefined) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  const isCertificate = attributes.objectClass === CKO.CERTIFICATE;
  const type = attributes.word(isCertificate ? CKA.CERTIFICATE_TYPE : CKA.KEY_TYPE);
  if (type !== undefined && types !== 'none' && !types.has(type)) {
    throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  }
}

/**
 * A template, and what a key says in one of its own that its descendants must have.
 *
 * Two different wishes meet in `sanitize`, which refuses them.
 */
export function withInner(
  template: readonly Attribute[],
  parent: Attributes,
  innerId: number,
): readonly Attribute[] {
  const inner = parent.get(innerId);
  if (inner === undefined || inner.byteLength === 0) return template;
  return [...template, ...readAttributeList(new ArgReader(inner))];
}

const HMAC_KEY_TYPES: readonly number[] = [
  CKK.MD5_HMAC,
  CKK.SHA_1_HMAC,
  CKK.SHA224_HMAC,
  CKK.SHA256_HMAC,
  CKK.SHA384_HMAC,
  CKK.SHA512_HMAC,
];
const SECRET_KEY_TYPES: ReadonlySet<number> = new Set([
  CKK.GENERIC_SECRET,
  CKK.AES,
  ...HMAC_KEY_TYPES,
]);
const PAIR_KEY_TYPES: ReadonlySet<number> = new Set([CKK.RSA, CKK.EC, CKK.EC_EDWARDS]);

const TYPES_OF_CLASS: ReadonlyMap<number, ReadonlySet<number> | 'none'> = new Map<
  number,
  ReadonlySet<number> | 'none'
>([
  [CKO.DATA, 'none'],
  [CKO.CERTIFICATE, new Set([CKC_X_509])],
  [CKO.SECRET_KEY, SECRET_KEY_TYPES],
  [CKO.PUBLIC_KEY, PAIR_KEY_TYPES],
  [CKO.PRIVATE_KEY, PAIR_KEY_TYPES],
]);

function isTypeId(id: number): boolean {
  return id === CKA.KEY_TYPE || id === CKA.CERTIFICATE_TYPE;
}

function add(attributes: Attributes, { id, value }: Attribute): void {
  requireWellFormed(id, value, 0);
  const normal = BOOLEANS.has(id) ? Uint8Array.of(value[0] === 0 ? 0 : 1) : value;
  const present = attributes.get(id);
  if (present === undefined) attributes.set(id, normal);
  else if (!sameBytes(present, normal)) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
}

function requireWellFormed(id: number, value: Uint8Array, depth: number): void {
  if (!KNOWN.has(id) || !hasRightSize(id, value.byteLength)) {
    throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  }
  if (!INDIRECT.has(id) || value.byteLength === 0) return;
  if (depth >= MAX_DEPTH) throw new TaFailure(CKR.TEMPLATE_INCONSISTENT);
  const reader = new ArgReader(value);
  for (const inner of readAttributeList(reader)) {
    requireWellFormed(inner.id, inner.value, depth + 1);
  }
  reader.end();
}

function hasRightSize(id: number, bytes: number): boolean {
  if (BOOLEANS.has(id)) return bytes === 1;
  if (WORDS.has(id)) return bytes === 4 || (isDate(id) && bytes === 0);
  return id !== CKA.ALLOWED_MECHANISMS || bytes % 4 === 0;
}

function isDate(id: number): boolean {
  return id === CKA.START_DATE || id === CKA.END_DATE;
}
