/** What is left of an object when power fails while a token writes it. */
import type graphene from 'graphene-pk11';

import { CKA, CKO } from './cryptoki.ts';
import { demandOwnHandles } from './handles.ts';
import { isCkr } from './token-errors.ts';
import type { Token } from './token.ts';

/** Without a name and without content: no application can have meant such an object. */
const CONTENT: Readonly<Record<number, readonly number[]>> = {
  [CKO.DATA]: [CKA.VALUE],
  [CKO.CERTIFICATE]: [CKA.VALUE],
  [CKO.PUBLIC_KEY]: [CKA.MODULUS, CKA.EC_PARAMS],
  [CKO.PRIVATE_KEY]: [CKA.MODULUS, CKA.EC_PARAMS],
};

/**
 * Destroys keys, certificates and data objects that have neither label nor id nor content.
 *
 * SoftHSM2 writes an object empty first and fills it afterwards; OP-TEE writes it whole.
 *
 * @returns how many there were
 */
export function destroyUnfinished(token: Token): number {
  return token.run('look for unfinished objects', (session) => {
    demandOwnHandles(session, 'destroy unfinished objects');
    let destroyed = 0;
    for (const [type, content] of Object.entries(CONTENT)) {
      const found = session.find({ class: Number(type), label: '' });
      for (let index = 0; index < found.length; index += 1) {
        const object = found.items(index);
        if (![CKA.ID, ...content].every((attribute) => isEmpty(object, attribute))) continue;
        object.destroy();
        destroyed += 1;
      }
    }
    return destroyed;
  });
}

function isEmpty(object: graphene.SessionObject, attribute: number): boolean {
  try {
    return object.getAttribute(attribute).length === 0;
  } catch (error) {
    if (isCkr(error, 'ATTRIBUTE_TYPE_INVALID')) return true;
    throw error;
  }
}
