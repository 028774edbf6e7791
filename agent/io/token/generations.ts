/**
 * Several keys under one label, for as long as one takes the place of another.
 *
 * The label stays, so that whatever else names the key by it goes on working; CKA_ID tells the
 * generations apart. The first has the identifier alone, later ones a counter behind it. None is used
 * twice while its predecessor lasts, because libp11 knows keys by their CKA_ID for as long as a process
 * runs.
 */
import type graphene from 'graphene-pk11';

import { CKA, CKO, type ObjectName } from './cryptoki.ts';
import { isCkr } from './token-errors.ts';
import type { Token } from './token.ts';

/** What finds the objects of that name. */
export function searchFor({ label, generation }: ObjectName): graphene.ITemplate {
  return generation === undefined ? { label } : { label, id: Buffer.from(generation, 'hex') };
}

/** CKA_ID for an object that is made under that name. */
export function idOf({ id, generation }: ObjectName): Buffer {
  return generation === undefined ? Buffer.from([id]) : Buffer.from(generation, 'hex');
}

/** The private keys under the label of `name`, each by its own name, in the order of their CKA_ID. */
export function listGenerations(token: Token, { label, id }: ObjectName): ObjectName[] {
  return token.run(`look for keys ${label}`, (session) => {
    const found = session.find({ class: CKO.PRIVATE_KEY, label });
    const ids = Array.from({ length: found.length }, (_, index) => readId(found.items(index)));
    return [...new Set(ids)].sort().map((generation) => nameOf({ label, id }, generation));
  });
}

/** The name of one generation; an object without CKA_ID is found by its label alone. */
export function nameOf({ label, id }: ObjectName, generation: string): ObjectName {
  return generation === '' ? { label, id } : { label, id, generation };
}

/** A CKA_ID that is not the one in use, in hex. */
export function nextGeneration({ id }: ObjectName, inUse: string): string {
  const [first, counter = 1] = Buffer.from(inUse, 'hex');
  const next = first === id && counter < 0xff ? counter + 1 : 2;
  return Buffer.from([id, next]).toString('hex');
}

function readId(object: graphene.SessionObject): string {
  try {
    return object.getAttribute(CKA.ID).toString('hex');
  } catch (error) {
    if (isCkr(error, 'ATTRIBUTE_TYPE_INVALID')) return '';
    throw error;
  }
}
