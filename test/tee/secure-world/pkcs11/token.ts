/**
 * One token: its owner, its PINs and its objects. Nothing is true before it is stored.
 *
 * Source: OP-TEE ta/pkcs11/src/persistent_token.c and pkcs11_token.c.
 */
import { randomBytes } from 'node:crypto';

import type { ClientIdentity } from '../ta.ts';
import { CKF, CKR, CKU } from './abi.ts';
import type { Attributes } from './attributes.ts';
import { TaFailure } from './failure.ts';
import { OVERHEAD_BYTES } from './heap.ts';
import { P11Object, type Home } from './object.ts';
import type { ObjectStore } from './object-store.ts';
import {
  flagsAfter,
  hasPinLength,
  identityCredential,
  isIdentityOf,
  isLocked,
  isPinOf,
  NO_CREDENTIAL,
  parseIdentity,
  pinCredential,
  type Credential,
  type UserType,
} from './pins.ts';
import type { TokenRecord } from './token-record.ts';

/** Of the objects of one token. */
const MAX_TOKEN_BYTES = 16 * 1024 * 1024;

export class Token {
  readonly slot: number;
  readonly #store: ObjectStore;
  #record: TokenRecord;
  /** Newest first; `undefined` until somebody asks. */
  #objects: readonly P11Object[] | undefined;

  constructor(slot: number, store: ObjectStore) {
    this.slot = slot;
    this.#store = store;
    this.#record = store.loadRecord(slot);
  }

  get label(): Uint8Array {
    return this.#record.label;
  }

  get flags(): number {
    return this.#record.flags;
  }

  get isInitialized(): boolean {
    return (this.flags & CKF.TOKEN_INITIALIZED) !== 0;
  }

  get hasUserPin(): boolean {
    return (this.flags & CKF.USER_PIN_INITIALIZED) !== 0;
  }

  /**
   * Empties the token and gives it to whoever holds the SO PIN.
   *
   * @param pin - empty, on a token without an owner, to be known by identity instead of a PIN
   * @throws TaFailure PIN_LOCKED, PIN_INCORRECT, or ARGUMENTS_BAD for a first PIN of a wrong length
   */
  initialize(label: Uint8Array, pin: Uint8Array, caller: ClientIdentity): void {
    if (this.isInitialized) this.verify(CKU.SO, pin, caller);
    const owned = this.isInitialized ? this.#record : ownedBy(this.#record, pin, caller);
    const flags = flagsAfter(owned.flags, CKU.USER, 0) & ~CKF.USER_PIN_INITIALIZED;
    const removed = owned.objectIds;
    this.#save({
      ...owned,
      label: Uint8Array.from(label),
      flags: flags | CKF.TOKEN_INITIALIZED,
      user: NO_CREDENTIAL,
      objectIds: [],
    });
    for (const object of this.#objects ?? []) object.destroy();
    this.#objects = [];
    for (const id of removed) this.#store.removeObject(id);
  }

  /**
   * Checks who calls.
   *
   * The attempt is counted in storage before the PIN is looked at: whoever cuts the power after a
   * wrong guess has still used it up.
   *
   * @throws TaFailure PIN_LOCKED or PIN_INCORRECT
   */
  verify(user: UserType, pin: Uint8Array, caller: ClientIdentity): void {
    const credential = user === CKU.SO ? this.#record.so : this.#record.user;
    if ((this.flags & CKF.PROTECTED_AUTHENTICATION_PATH) !== 0) {
      if (!isIdentityOf(credential, caller)) throw new TaFailure(CKR.PIN_INCORRECT);
      return;
    }
    this.requireUnlocked(user);
    const failures = credential.failures + 1;
    this.#save(withCredential(this.#record, user, { ...credential, failures }));
    if (!isPinOf(user, credential, pin)) {
      throw new TaFailure(isLocked(this.flags, user) ? CKR.PIN_LOCKED : CKR.PIN_INCORRECT);
    }
    this.#save(withCredential(this.#record, user, { ...credential, failures: 0 }));
  }

  /** @throws TaFailure PIN_LOCKED */
  requireUnlocked(user: UserType): void {
    if (isLocked(this.flags, user)) throw new TaFailure(CKR.PIN_LOCKED);
  }

  /** @throws TaFailure PIN_LEN_RANGE, or PIN_INVALID for text that names no identity */
  setPin(user: UserType, pin: Uint8Array, caller: ClientIdentity): void {
    this.#save(withPin(this.#record, user, pin, caller));
  }

  /**
   * Newest first. An object that does not verify is not among them, but stays claimed: whoever puts
   * the right file back has the key back, where OP-TEE would have deleted it.
   */
  objects(): readonly P11Object[] {
    if (this.#objects !== undefined) return this.#objects;
    const found: P11Object[] = [];
    for (const id of this.#record.objectIds) {
      const attributes = this.#store.loadObject(id);
      if (attributes !== undefined) found.unshift(this.#at(id, attributes));
    }
    this.#objects = found;
    return found;
  }

  /**
   * Stores new objects, all or none of them.
   *
   * @throws TaFailure DEVICE_MEMORY when storage has no room
   */
  add<T extends readonly Attributes[]>(...each: T): { readonly [K in keyof T]: P11Object } {
    const others = this.objects();
    this.#requireRoom(each);
    const added = each.map((attributes) => ({ id: Uint8Array.from(randomBytes(16)), attributes }));
    const objectIds = [...this.#record.objectIds, ...added.map(({ id }) => id)];
    const record = { ...this.#record, objectIds };
    this.#store.saveClaimed(this.slot, added, record);
    this.#record = record;
    const objects = added.map(({ id, attributes }) => this.#at(id, attributes));
    this.#objects = [...objects.toReversed(), ...others];
    return objects as { [K in keyof T]: P11Object };
  }

  /** @throws TaFailure DEVICE_MEMORY when storage has no room; the object is then as it was */
  update(object: P11Object, home: Home, attributes: Attributes): void {
    this.#requireRoom([attributes], object);
    this.#store.saveObject(home.storageId, attributes);
    object.attributes = attributes;
  }

  /** Disowns an object, then removes it. */
  remove(object: P11Object): void {
    const { home } = object;
    if (home === undefined) throw new Error('a session object is not in a token');
    const objectIds = this.#record.objectIds.filter((id) => id !== home.storageId);
    this.#save({ ...this.#record, objectIds });
    this.#objects = this.objects().filter((other) => other !== object);
    object.destroy();
    this.#store.removeObject(home.storageId);
  }

  /** All of a token is in memory: @throws TaFailure DEVICE_MEMORY when it would be too much. */
  #requireRoom(added: readonly Attributes[], replaced?: P11Object): void {
    const kept = this.objects().filter((object) => object !== replaced);
    const all = [...kept.map(({ attributes }) => attributes), ...added];
    const bytes = all.reduce((sum, { sizeBytes }) => sum + OVERHEAD_BYTES + sizeBytes, 0);
    if (bytes > MAX_TOKEN_BYTES) throw new TaFailure(CKR.DEVICE_MEMORY);
  }

  #at(storageId: Uint8Array, attributes: Attributes): P11Object {
    return new P11Object(attributes, { slot: this.slot, storageId });
  }

  #save(record: TokenRecord): void {
    this.#store.saveRecord(this.slot, record);
    this.#record = record;
  }
}

/** The record of a token whose first owner this is. */
function ownedBy(record: TokenRecord, pin: Uint8Array, caller: ClientIdentity): TokenRecord {
  if (pin.byteLength === 0) {
    const flags = record.flags | CKF.PROTECTED_AUTHENTICATION_PATH;
    return withCredential({ ...record, flags }, CKU.SO, identityCredential(caller));
  }
  if (!hasPinLength(pin)) throw new TaFailure(CKR.ARGUMENTS_BAD);
  return withCredential(record, CKU.SO, pinCredential(CKU.SO, pin));
}

function withPin(
  record: TokenRecord,
  user: UserType,
  pin: Uint8Array,
  caller: ClientIdentity,
): TokenRecord {
  const hasUser = (record.flags & CKF.USER_PIN_INITIALIZED) !== 0;
  const flags = user === CKU.USER ? record.flags | CKF.USER_PIN_INITIALIZED : record.flags;
  if ((flags & CKF.PROTECTED_AUTHENTICATION_PATH) !== 0) {
    const text = Buffer.from(pin).toString('latin1');
    const identity = pin.byteLength === 0 ? caller : parseIdentity(text);
    if (identity !== undefined) {
      return withCredential({ ...record, flags }, user, identityCredential(identity));
    }
    // The token goes back to PINs while there is no user. With the first one's PIN OP-TEE does so, too,
    // and so shuts out the SO, who has none.
    if (hasUser) throw new TaFailure(CKR.PIN_INVALID);
  }
  if (!hasPinLength(pin)) throw new TaFailure(CKR.PIN_LEN_RANGE);
  const usesPins = { ...record, flags: flags & ~CKF.PROTECTED_AUTHENTICATION_PATH };
  return withCredential(usesPins, user, pinCredential(user, pin));
}

function withCredential(record: TokenRecord, user: UserType, credential: Credential): TokenRecord {
  const flags = flagsAfter(record.flags, user, credential.failures);
  const next = { ...record, flags };
  return user === CKU.SO ? { ...next, so: credential } : { ...next, user: credential };
}
