/** The proof, from its attributes, that a private key was made in the token and cannot leave it. */
import type graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import { CKA, CKO, type ObjectName } from './cryptoki.ts';
import { searchFor } from './generations.ts';
import { isCkr, PROVISION } from './token-errors.ts';
import type { Token } from './token.ts';

interface Expectation {
  readonly name: string;
  readonly attribute: number;
  readonly value: boolean;
  /** `false`: a token that does not keep this attribute is believed. */
  readonly required: boolean;
}

/** PKCS#11 v2.40 §4.8 and §4.9. */
const EXPECTED: readonly Expectation[] = [
  { name: 'CKA_SENSITIVE', attribute: CKA.SENSITIVE, value: true, required: true },
  { name: 'CKA_EXTRACTABLE', attribute: CKA.EXTRACTABLE, value: false, required: true },
  { name: 'CKA_ALWAYS_SENSITIVE', attribute: CKA.ALWAYS_SENSITIVE, value: true, required: false },
  { name: 'CKA_NEVER_EXTRACTABLE', attribute: CKA.NEVER_EXTRACTABLE, value: true, required: false },
  { name: 'CKA_LOCAL', attribute: CKA.LOCAL, value: true, required: false },
];

/**
 * Reads back the attributes of a private key.
 *
 * An imported key has copies elsewhere, and one that was ever extractable may have.
 *
 * @throws OtaError TOKEN_KEY_UNSAFE naming the first attribute that is not as it must be
 * @throws OtaError NOT_PROVISIONED if there is no such key
 */
export function checkKeyAttributes(token: Token, name: ObjectName): void {
  const unsafe = token.run(`read attributes of ${name.label}`, (session) => {
    const key = findPrivateKey(session, token, name);
    return EXPECTED.find(({ attribute, value, required }) => {
      const present = readFlag(key, attribute);
      return present === undefined ? required : present !== value;
    });
  });
  if (unsafe === undefined) return;
  const uri = `${token.uri} ${name.label}`;
  const remedy = 'delete the key and provision again: it may have copies outside the token';
  throw new OtaError('TOKEN_KEY_UNSAFE', { uri, attribute: unsafe.name, remedy });
}

/** @throws OtaError NOT_PROVISIONED if there is no private key of that name */
export function findPrivateKey(
  session: graphene.Session,
  token: Token,
  name: ObjectName,
): graphene.SessionObject {
  const found = session.find({ class: CKO.PRIVATE_KEY, ...searchFor(name) });
  if (found.length > 0) return found.items(0);
  const missing = `private key "${name.label}" in token ${token.uri}`;
  throw new OtaError('NOT_PROVISIONED', { missing, remedy: PROVISION });
}

function readFlag(object: graphene.SessionObject, attribute: number): boolean | undefined {
  try {
    const value = object.getAttribute(attribute);
    return value.length === 0 ? undefined : value[0] !== 0;
  } catch (error) {
    if (isCkr(error, 'ATTRIBUTE_TYPE_INVALID')) return undefined;
    throw error;
  }
}
