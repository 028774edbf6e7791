/**
 * Clients, their sessions, and what each may see.
 *
 * A client is one session of the TEE: one process that loaded a Cryptoki library. Its session and
 * object handles are its own; a login holds for all its sessions with that token.
 *
 * Source: PKCS#11 v2.40 §5.6; OP-TEE ta/pkcs11/src/pkcs11_token.c.
 */
import type { ClientIdentity } from '../ta.ts';
import { CKR, CKS, CKU } from './abi.ts';
import type { Attributes } from './attributes.ts';
import { TaFailure } from './failure.ts';
import { Handles } from './handles.ts';
import { OVERHEAD_BYTES, type Heap } from './heap.ts';
import type { P11Object } from './object.ts';
import type { UserType } from './pins.ts';
import type { ActiveOperation } from './processing.ts';
import type { Token } from './token.ts';

/** What is looked through one by one is bounded in number, too. */
const MAX_SESSIONS = 1024;
const MAX_SESSION_OBJECTS = 4096;

export class Session {
  readonly client: Client;
  readonly token: Token;
  readonly isReadWrite: boolean;
  /** Session objects made here, newest first: they end with the session. */
  objects: readonly P11Object[] = [];
  /** Handles that a search has still to hand out. */
  found: number[] | undefined;
  #operation: ActiveOperation | undefined;
  /** What the operation has of the client's heap. */
  #heldBytes = 0;

  constructor(client: Client, token: Token, isReadWrite: boolean) {
    this.client = client;
    this.token = token;
    this.isReadWrite = isReadWrite;
  }

  get user(): UserType | undefined {
    return this.client.userOf(this.token);
  }

  get state(): number {
    switch (this.user) {
      case CKU.SO:
        return CKS.RW_SO;
      case CKU.USER:
        return this.isReadWrite ? CKS.RW_USER : CKS.RO_USER;
      case undefined:
        return this.isReadWrite ? CKS.RW_PUBLIC : CKS.RO_PUBLIC;
    }
  }

  get operation(): ActiveOperation | undefined {
    return this.#operation;
  }

  /**
   * @param heldBytes - what it keeps from its start on
   * @throws TaFailure DEVICE_MEMORY
   */
  begin(operation: ActiveOperation, heldBytes: number): void {
    this.client.heap.take(heldBytes);
    this.#operation = operation;
    this.#heldBytes = heldBytes;
  }

  /** Counts what the operation holds back. @throws TaFailure DEVICE_MEMORY */
  hold(bytes: number): void {
    this.client.heap.take(bytes);
    this.#heldBytes += bytes;
  }

  /** Ends the operation, if there is one. */
  end(): void {
    this.client.heap.give(this.#heldBytes);
    this.#heldBytes = 0;
    this.#operation = undefined;
  }

  /** Private objects are the user's; not even the SO may touch them. */
  mayAccess(object: P11Object): boolean {
    return !object.isPrivate || this.user === CKU.USER;
  }

  /** @throws TaFailure OPERATION_ACTIVE */
  requireIdle(): void {
    if (this.operation !== undefined) throw new TaFailure(CKR.OPERATION_ACTIVE);
  }

  /** @returns the object a handle stands for in this session, destroyed ones excluded */
  object(handle: number): P11Object | undefined {
    const object = this.client.objects.get(handle);
    if (object === undefined || object.isDestroyed) return undefined;
    const isReachable = object.home === undefined || object.home.slot === this.token.slot;
    return isReachable ? object : undefined;
  }

  /** @throws TaFailure DEVICE_MEMORY */
  addObject(object: P11Object): number {
    if (this.client.sessionObjectCount() >= MAX_SESSION_OBJECTS) {
      throw new TaFailure(CKR.DEVICE_MEMORY);
    }
    this.client.heap.take(bytesOf(object.attributes));
    this.objects = [object, ...this.objects];
    return this.client.objects.add(object);
  }
}

export class Client {
  readonly identity: ClientIdentity;
  readonly heap: Heap;
  readonly objects = new Handles<P11Object>();
  readonly #sessions = new Handles<Session>();
  /** In the order they were opened. */
  readonly #order = new Set<Session>();
  readonly #users = new Map<Token, UserType>();

  constructor(identity: ClientIdentity, heap: Heap) {
    this.identity = identity;
    this.heap = heap;
  }

  /** @throws TaFailure SESSION_HANDLE_INVALID */
  session(handle: number): Session {
    const session = this.#sessions.get(handle);
    if (session === undefined) throw new TaFailure(CKR.SESSION_HANDLE_INVALID);
    return session;
  }

  /** Newest first. */
  sessions(): readonly Session[] {
    return [...this.#order].reverse();
  }

  sessionsWith(token: Token): readonly Session[] {
    return this.sessions().filter((session) => session.token === token);
  }

  userOf(token: Token): UserType | undefined {
    return this.#users.get(token);
  }

  /** @throws TaFailure DEVICE_MEMORY */
  openSession(token: Token, isReadWrite: boolean): number {
    if (this.#order.size >= MAX_SESSIONS) throw new TaFailure(CKR.DEVICE_MEMORY);
    this.heap.take(OVERHEAD_BYTES);
    const session = new Session(this, token, isReadWrite);
    this.#order.add(session);
    return this.#sessions.add(session);
  }

  /** The last session with a token takes the login with it. */
  closeSession(session: Session): void {
    for (const object of session.objects) this.#destroy(object);
    session.objects = [];
    session.end();
    this.heap.give(OVERHEAD_BYTES);
    this.#order.delete(session);
    this.#sessions.release(this.#sessions.handleOf(session));
    if (this.sessionsWith(session.token).length === 0) this.logout(session.token);
  }

  login(token: Token, user: UserType): void {
    this.#users.set(token, user);
  }

  /** Private session objects are destroyed, and handles of private token objects are given back. */
  logout(token: Token): void {
    this.#users.delete(token);
    for (const session of this.sessionsWith(token)) {
      const secret = session.objects.filter((object) => object.isPrivate);
      session.objects = session.objects.filter((object) => !object.isPrivate);
      for (const object of secret) this.#destroy(object);
      session.end();
      session.found = undefined;
    }
    for (const object of token.objects()) {
      if (!object.isPrivate) continue;
      object.forgetKeys();
      this.forget(object);
    }
  }

  /** @returns the handle of an object, given now if it had none */
  publish(object: P11Object): number {
    return this.objects.handleOf(object) || this.objects.add(object);
  }

  forget(object: P11Object): void {
    this.objects.release(this.objects.handleOf(object));
  }

  destroySessionObject(object: P11Object): void {
    for (const session of this.sessions()) {
      session.objects = session.objects.filter((other) => other !== object);
    }
    this.#destroy(object);
  }

  /** @throws TaFailure DEVICE_MEMORY; the object is then as it was */
  updateSessionObject(object: P11Object, attributes: Attributes): void {
    this.heap.take(bytesOf(attributes));
    this.heap.give(bytesOf(object.attributes));
    object.attributes = attributes;
  }

  sessionObjectCount(): number {
    return this.sessions().reduce((sum, session) => sum + session.objects.length, 0);
  }

  #destroy(object: P11Object): void {
    object.destroy();
    this.heap.give(bytesOf(object.attributes));
    this.forget(object);
  }
}

function bytesOf(attributes: Attributes): number {
  return OVERHEAD_BYTES + attributes.sizeBytes;
}
