/**
 * What a trusted application is to the world that runs it.
 *
 * A TA answers with a TEE_Result. Anything it throws is a panic: the world kills the instance, as
 * OP-TEE does, because nobody can say what state it was left in.
 *
 * Source: GlobalPlatform TEE Internal Core API v1.3 §4.3 (TA interface) and §2.3.3 (panics).
 */
import type { Operation } from './world/operation.ts';

/** GlobalPlatform TEE Client API v1.0 §4.4.2: who a session says it is opened for. */
export interface ClientIdentity {
  /** TEE_LOGIN_PUBLIC 0, TEE_LOGIN_USER 1 or TEE_LOGIN_GROUP 2. */
  readonly login: number;
  /** RFC 4122 text form; the nil UUID for a public login. */
  readonly uuid: string;
}

export interface TrustedApp {
  /** RFC 4122 text form, lower case. */
  readonly uuid: string;
  /** TA_CreateEntryPoint. The one instance serves every session until it panics or the world ends. */
  create(): TaInstance;
}

export interface TaInstance {
  /** TA_OpenSessionEntryPoint. On any result but TEE_SUCCESS there is no session. */
  open(session: number, client: ClientIdentity, operation: Operation): number;
  /** TA_InvokeCommandEntryPoint. */
  invoke(session: number, command: number, operation: Operation): number;
  /** TA_CloseSessionEntryPoint. */
  close(session: number): void;
  /** TA_DestroyEntryPoint. Not called after a panic. */
  destroy(): void;
}
