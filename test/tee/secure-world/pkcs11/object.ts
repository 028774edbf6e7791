/** One object of a token or a session, and what may be read of it. */
import type { KeyObject } from 'node:crypto';

import { CKA, SECRET_PARTS } from './abi-attributes.ts';
import { CKO } from './abi.ts';
import { sameBytes, type Attributes } from './attributes.ts';

/** Where a token object lives. */
export interface Home {
  readonly slot: number;
  /** Identifier in trusted storage, 16 random bytes. */
  readonly storageId: Uint8Array;
}

export class P11Object {
  attributes: Attributes;
  /** `undefined` for a session object. */
  readonly home: Home | undefined;
  #isDestroyed = false;
  /** The hash for which a generic secret was first used as a MAC key. */
  usedWith: string | undefined;
  readonly #keys = new Map<'public' | 'private' | 'secret', KeyObject>();

  constructor(attributes: Attributes, home?: Home) {
    this.attributes = attributes;
    this.home = home;
  }

  /** A handle to it that another client still holds means nothing any more. */
  get isDestroyed(): boolean {
    return this.#isDestroyed;
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.forgetKeys();
  }

  get isPrivate(): boolean {
    return this.attributes.boolean(CKA.PRIVATE);
  }

  /** Parsing a key costs more than a signature, so it is done once per object. */
  key(kind: 'public' | 'private' | 'secret', parse: (from: Attributes) => KeyObject): KeyObject {
    const cached = this.#keys.get(kind);
    if (cached !== undefined) return cached;
    const key = parse(this.attributes);
    this.#keys.set(kind, key);
    return key;
  }

  /** Drops what was parsed; the next use parses again. */
  forgetKeys(): void {
    this.#keys.clear();
  }
}

/** PKCS#11 v2.40 §4.9: secret parts of a key leave only if it is extractable and not sensitive. */
export function isReadable(attributes: Attributes, id: number): boolean {
  if (!SECRET_PARTS.has(id)) return true;
  const objectClass = attributes.objectClass;
  if (objectClass !== CKO.SECRET_KEY && objectClass !== CKO.PRIVATE_KEY) return true;
  return attributes.boolean(CKA.EXTRACTABLE) && !attributes.boolean(CKA.SENSITIVE);
}

/**
 * Whether an object is what a search asks for.
 *
 * A search by a value that may not be read finds nothing: it would be an oracle for guesses.
 */
export function matches(attributes: Attributes, wanted: Attributes): boolean {
  for (const { id, value } of wanted) {
    const own = attributes.get(id);
    if (own === undefined || id === CKA.HIDDEN_EC_POINT) return false;
    if (!isReadable(attributes, id) || !sameBytes(own, value)) return false;
  }
  return true;
}
