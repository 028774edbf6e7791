/** The Anchor port: records as private data objects of the token (PKCS#11 v2.40 §4.5). */
import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import type { Anchor } from '../../ports.ts';
import { ANCHOR, CKA, CKO } from './cryptoki.ts';
import { demandOwnHandles } from './handles.ts';
import { isCkr } from './token-errors.ts';
import type { Token } from './token.ts';

const FIND = { class: CKO.DATA, label: ANCHOR.label };

/**
 * Reads once per process and writes seldom: a token in a TEE answers in milliseconds, and its flash
 * wears.
 */
export class TokenAnchor implements Anchor {
  readonly uri: string;
  readonly #token: Token;
  #known: readonly Uint8Array[] | undefined;

  /** @param token - open for reading; it stays its owner's to close */
  constructor(token: Token) {
    this.uri = token.uri;
    this.#token = token;
  }

  records(): Promise<readonly Uint8Array[]> {
    return new Promise((resolve) => {
      this.#known ??= this.#token.run('read the seal', (session) => {
        const found = session.find(FIND);
        return Array.from({ length: found.length }, (_, index) => valueOf(found.items(index)));
      });
      resolve(this.#known);
    });
  }

  replace(record: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#known = undefined;
      const token = this.#token.forWriting();
      try {
        storeOnly(token, record);
      } finally {
        token.close();
      }
      this.#known = [record];
      resolve();
    });
  }
}

/**
 * The new object first: there is a whole record at every moment. Its value is not changed in place,
 * which OP-TEE refuses and SoftHSM2 does in two steps.
 */
function storeOnly(token: Token, record: Uint8Array): void {
  const template = graphene.Template.toPkcs11({
    class: CKO.DATA,
    token: true,
    // With `login = "none"` nobody logs in, and a private object would be out of reach.
    private: token.settings.login !== 'none',
    label: ANCHOR.label,
    application: 'ota-agent',
    value: Buffer.from(record),
  });
  token.run('store the seal', (session) => {
    // Else a process that is refused below would add a record at every try.
    demandOwnHandles(session, 'store the seal');
    const old = session.find(FIND);
    const made = session.lib.C_CreateObject(session.handle, template);
    demandOwnHandles(session, 'store the seal');
    const stored = session.getObject(made);
    if (stored === null || Buffer.compare(valueOf(stored), record) !== 0) {
      const cause = 'the token does not give back what it stored';
      throw new OtaError('TOKEN_FAILED', { operation: 'store the seal', cause });
    }
    for (let index = 0; index < old.length; index += 1) old.items(index).destroy();
  });
}

/** SoftHSM2 makes an object first and fills it afterwards: a power cut can leave one without value. */
function valueOf(object: graphene.SessionObject): Uint8Array {
  try {
    return object.getAttribute(CKA.VALUE);
  } catch (error) {
    if (isCkr(error, 'ATTRIBUTE_TYPE_INVALID', 'ATTRIBUTE_VALUE_INVALID')) return new Uint8Array();
    throw error;
  }
}

/** What putting back the disk does to the objects of a token. */
export type Protection = 'on the disk' | 'in the TEE' | 'in the token';

/**
 * Where a token keeps its objects, as far as its names tell.
 *
 * @returns what that is worth to the anchor, for people
 */
export function protectionOf(token: Token): { protection: Protection; meaning: string } {
  const { manufacturer, model } = token.name;
  // Behind p11-kit the library calls itself p11-kit's.
  const library = `${token.library} ${token.settings.module}`;
  if (/softhsm/iu.test(`${manufacturer} ${model}`) || /tpm2/iu.test(library)) {
    return {
      protection: 'on the disk',
      meaning:
        'this token keeps its objects in files: an older disk is noticed only if they are not put back with it',
    };
  }
  if (/op-?tee/iu.test(`${manufacturer} ${model}`)) {
    return {
      protection: 'in the TEE',
      meaning:
        'an older disk is noticed where OP-TEE keeps objects in RPMB, or the hash of its files there ' +
        '(CFG_REE_FS=n or CFG_REE_FS_INTEGRITY_RPMB=y); otherwise /var/lib/tee must not be put back with it',
    };
  }
  return { protection: 'in the token', meaning: 'an older disk is noticed' };
}
