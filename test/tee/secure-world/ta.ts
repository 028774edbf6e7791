/**
 * What a trusted application is to the world that runs it.
 *
 * A TA answers with a TEE_Result. Anything it throws is a panic: the world kills the instance, as
 * OP-TEE does, because nobody can say what state it was left in.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 §4.3 (TA interface), §4.5 (properties) and §2.3.3
 * (panics); OP-TEE 4.10 lib/libutee/include/user_ta_header.h (flags).
 */
import type { Cancellation } from './world/cancellation.ts';
import type { Operation } from './world/operation.ts';

/** GlobalPlatform TEE Client API v1.0 §4.4.2: who a session says it is opened for. */
export interface ClientIdentity {
  /** TEE_LOGIN_PUBLIC 0, TEE_LOGIN_USER 1 or TEE_LOGIN_GROUP 2. */
  readonly login: number;
  /** RFC 4122 text form; the nil UUID for a public login. */
  readonly uuid: string;
}

/** Bits of `TrustedApp.flags`. The last two mean something beside the first only. */
export const TA_FLAG = {
  /** All sessions share one instance; without it each session has its own. */
  SINGLE_INSTANCE: 0x04,
  /** It has several sessions at a time; without it a second one is refused with TEE_ERROR_BUSY. */
  MULTI_SESSION: 0x08,
  /** It outlives its last session; without it, it is destroyed with it. */
  INSTANCE_KEEP_ALIVE: 0x10,
} as const;

export interface TrustedApp {
  /** RFC 4122 text form, lower case. */
  readonly uuid: string;
  /** TA_FLAG bits. */
  readonly flags: number;
  /** TA_CreateEntryPoint. */
  create(): TaInstance;
}

/**
 * The other four entry points. The world enters an instance once at a time: who comes while a promise
 * is not settled waits, and nobody else does.
 */
export interface TaInstance {
  /** TA_OpenSessionEntryPoint. On any result but TEE_SUCCESS there is no session. */
  open(
    session: number,
    client: ClientIdentity,
    operation: Operation,
    cancellation: Cancellation,
  ): number | Promise<number>;
  /** TA_InvokeCommandEntryPoint. */
  invoke(
    session: number,
    command: number,
    operation: Operation,
    cancellation: Cancellation,
  ): number | Promise<number>;
  /** TA_CloseSessionEntryPoint. Not called after a panic. */
  close(session: number): void;
  /** TA_DestroyEntryPoint. Not called after a panic. */
  destroy(): void;
  /** What the TEE itself takes back from a dead instance, whatever it died of; no TA code runs. */
  reclaim?(): void;
}

/** TEE_Panic: the TA, or the API on its behalf, gives up because a contract is broken. */
export class TaPanic extends Error {
  override readonly name = 'TaPanic';
  /** Says which contract: a TEE_Result where the API panics, else the TA's own number. */
  readonly code: number;

  constructor(code: number, what: string, options?: ErrorOptions) {
    super(what, options);
    this.code = code;
  }
}
