/**
 * Operations in progress: what a mechanism makes, and what a session holds between INIT and FINAL.
 *
 * A machine without `update` takes its data at once. Sizes are known before any work is done, so that
 * a caller with too little room can be told and try again. A machine that `needsData` takes no step
 * that brings none at all, as OP-TEE's do not.
 */
import type { Attributes } from './attributes.ts';
import type { Mode } from './mode.ts';
import type { P11Object } from './object.ts';

export interface Signer {
  readonly does: 'sign';
  readonly signatureBytes: number;
  /** Looks at the size of the data before the room for its signature is. */
  readonly checkData?: (dataBytes: number) => void;
  readonly needsData?: boolean;
  readonly update?: (data: Uint8Array) => void;
  /** Forgets the data that it has. */
  readonly restart?: () => void;
  /** @param data - the last part, or all of it */
  readonly sign: (data: Uint8Array) => Uint8Array;
}

export interface Verifier {
  readonly does: 'verify';
  readonly signatureBytes: number;
  /** Whether a signature of that size is looked at; by default only one of `signatureBytes` is. */
  readonly takesLength?: (lengthBytes: number) => boolean;
  readonly needsData?: boolean;
  readonly update?: (data: Uint8Array) => void;
  readonly verify: (data: Uint8Array, signature: Uint8Array) => boolean;
}

export interface Digester {
  readonly does: 'digest';
  readonly digestBytes: number;
  readonly update: (data: Uint8Array) => void;
  readonly digest: () => Uint8Array;
}

/** Encryption or decryption. */
export interface Cipher {
  readonly does: 'encrypt' | 'decrypt';
  /**
   * The exact size of the next output, or that only the result tells.
   *
   * @throws TaFailure for data of a size that is wrong whatever the room
   */
  readonly outputBytes: (step: 'update' | 'last', inputBytes: number) => number | 'when finished';
  readonly needsData?: boolean;
  /** What `update` is given stays until the end. */
  readonly withholds?: boolean;
  readonly update?: (data: Uint8Array) => Uint8Array;
  /** @param data - the last part, or all of it; repeatable until its result was handed out */
  readonly finish: (data: Uint8Array) => Uint8Array;
}

export type Machine = Signer | Verifier | Digester | Cipher;
export type Doing = Machine['does'];

export interface ActiveOperation {
  readonly machine: Machine;
  /** The key wants a login for each use, and there was none yet: PKCS#11 v2.40 §4.9. */
  needsLogin: boolean;
  hasData: boolean;
}

/** What a mechanism starts from. */
export interface Start {
  readonly mode: Mode;
  readonly parameter: Uint8Array;
  readonly key: P11Object;
}

/** One mechanism: the functions it has are the ones it serves. */
export interface Mechanism {
  readonly id: number;
  /** CKK values of the keys it takes; none for digests and generators. */
  readonly keyTypes: readonly number[];
  readonly sign?: (start: Start) => Signer;
  readonly verify?: (start: Start) => Verifier;
  readonly encrypt?: (start: Start) => Cipher;
  readonly decrypt?: (start: Start) => Cipher;
  readonly digest?: () => Digester;
  /** Makes a secret of a length that its type has. */
  readonly generate?: (lengthBytes: number) => Uint8Array;
  /** Adds the values of a new pair to its attributes. */
  readonly generatePair?: (publicKey: Attributes, privateKey: Attributes, mode: Mode) => void;
  /** Refuses a key for what else it may do, before its template is looked at. */
  readonly checkParent?: (key: P11Object) => void;
  /** @returns as much of a secret as there is */
  readonly derive?: (start: Start) => Uint8Array;
  readonly wrap?: (start: Start, key: Uint8Array) => Uint8Array;
  readonly unwrap?: (start: Start, wrapped: Uint8Array) => Uint8Array;
}
