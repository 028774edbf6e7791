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

/** Where a key may come from. */
export type Origin = 'made here' | 'imported too';

/** On every run, as long as the device uses such a key. */
export const IMPORTED_KEY =
  'THE TLS KEY WAS NOT MADE IN THE TOKEN: somebody else made the private key, and whoever has a copy ' +
  'is this device; for migration only: change to a key that is made in the token';

/** As `identity.allow_imported` says. */
export function acceptedOrigin({
  identity,
}: {
  readonly identity: { readonly allow_imported: boolean };
}): Origin {
  return identity.allow_imported ? 'imported too' : 'made here';
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
 * An imported key has copies elsewhere, and one that was ever extractable may have. Where that is
 * accepted, it must still not be able to leave from now on.
 *
 * @throws OtaError TOKEN_KEY_UNSAFE naming the first attribute that is not as it must be
 * @throws OtaError NOT_PROVISIONED if there is no such key
 */
export function checkKeyAttributes(
  token: Token,
  name: ObjectName,
  origin: Origin = 'made here',
): void {
  const expected = EXPECTED.filter(({ required }) => required || origin === 'made here');
  const unsafe = token.run(`read attributes of ${name.label}`, (session) => {
    const key = findPrivateKey(session, token, name);
    return expected.find(({ attribute, value, required }) => {
      const present = readFlag(key, attribute);
      return present === undefined ? required : present !== value;
    });
  });
  if (unsafe === undefined) return;
  const uri = `${token.uri} ${name.label}`;
  const remedy = 'delete the key and provision again: it may have copies outside the token';
  throw new OtaError('TOKEN_KEY_UNSAFE', { uri, attribute: unsafe.name, remedy });
}

/** Whether the token says that the private key was not made in it. */
export function isImported(token: Token, name: ObjectName): boolean {
  return token.run(
    `read attributes of ${name.label}`,
    (session) => readFlag(findPrivateKey(session, token, name), CKA.LOCAL) === false,
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
