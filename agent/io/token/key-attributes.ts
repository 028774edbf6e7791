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
}

/**
 * PKCS#11 v2.40 §4.8 and §4.9. SoftHSM2, OP-TEE and tpm2-pkcs11 keep all five; of a token that leaves one
 * out nothing is known, so such a key is treated like one that was imported.
 */
const EXPECTED: readonly Expectation[] = [
  { name: 'CKA_SENSITIVE', attribute: CKA.SENSITIVE, value: true },
  { name: 'CKA_EXTRACTABLE', attribute: CKA.EXTRACTABLE, value: false },
  { name: 'CKA_ALWAYS_SENSITIVE', attribute: CKA.ALWAYS_SENSITIVE, value: true },
  { name: 'CKA_NEVER_EXTRACTABLE', attribute: CKA.NEVER_EXTRACTABLE, value: true },
  { name: 'CKA_LOCAL', attribute: CKA.LOCAL, value: true },
];

/** What there is to say of a key that is used although it is not as it must be. */
export type KeyWarning = string;

/**
 * Reads back the attributes of a private key.
 *
 * An imported key has copies elsewhere, and one that was ever extractable may have.
 *
 * @param allowImported - `identity.allow_imported`: a key that was not made in the token is let pass,
 *   as long as it is sensitive; one that was made there and may leave it is not
 * @returns what to warn of where that let a key pass
 * @throws OtaError TOKEN_KEY_UNSAFE naming the first attribute that is not as it must be
 * @throws OtaError NOT_PROVISIONED if there is no such key
 */
export function checkKeyAttributes(
  token: Token,
  name: ObjectName,
  allowImported = false,
): KeyWarning | undefined {
  const unsafe = token.run(`read attributes of ${name.label}`, (session) => {
    const key = findPrivateKey(session, token, name);
    return EXPECTED.filter(({ attribute, value }) => readFlag(key, attribute) !== value);
  });
  const [first] = unsafe;
  if (first === undefined) return undefined;
  const isImported = unsafe.some(({ attribute }) => attribute === CKA.LOCAL);
  if (allowImported && isImported && first.attribute !== CKA.SENSITIVE) {
    const wrong = unsafe.map((one) => one.name).join(', ');
    return `key "${name.label}" was made outside the token, and there may be copies of it (${wrong}); provision a key of the token's own and remove identity.allow_imported`;
  }
  const uri = `${token.uri} ${name.label}`;
  const remedy = 'delete the key and provision again: it may have copies outside the token';
  throw new OtaError('TOKEN_KEY_UNSAFE', { uri, attribute: first.name, remedy });
}

/** Whether the private key was not made in the token, as far as the token says. */
export function isImported(token: Token, name: ObjectName): boolean {
  return token.run(
    `read attributes of ${name.label}`,
    (session) => readFlag(findPrivateKey(session, token, name), CKA.LOCAL) !== true,
  );
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
