/** One invocation of a command: its arguments, its data in, its room for data out. */
import { Memory, packTypes, PARAM, type Operation } from '../world/operation.ts';
import { CKR } from './abi.ts';
import { ArgReader } from './args.ts';
import { TaFailure } from './failure.ts';
import type { Mode } from './mode.ts';
import type { Client, Session } from './session.ts';
import type { Token } from './token.ts';

const { NONE, MEMREF_INPUT, MEMREF_OUTPUT, MEMREF_INOUT } = PARAM;

/** What a command's four parameters must be, exactly. Parameter 0 carries arguments and answer. */
export const SHAPE = {
  PLAIN: packTypes(MEMREF_INOUT, NONE, NONE, NONE),
  IN: packTypes(MEMREF_INOUT, MEMREF_INPUT, NONE, NONE),
  OUT: packTypes(MEMREF_INOUT, NONE, MEMREF_OUTPUT, NONE),
  IN_OUT: packTypes(MEMREF_INOUT, MEMREF_INPUT, MEMREF_OUTPUT, NONE),
  /** A signature to verify travels where output does otherwise. */
  SIGNATURE: packTypes(MEMREF_INOUT, NONE, MEMREF_INPUT, NONE),
  IN_SIGNATURE: packTypes(MEMREF_INOUT, MEMREF_INPUT, MEMREF_INPUT, NONE),
} as const;

export interface Command {
  readonly id: number;
  readonly shapes: readonly number[];
  readonly run: (call: Call) => void;
}

/** What all sessions of the TA share. */
export interface Shared {
  readonly mode: Mode;
  readonly tokens: readonly Token[];
  readonly clients: ReadonlyMap<number, Client>;
}

export class Call {
  readonly client: Client;
  readonly shared: Shared;
  readonly args: ArgReader;
  readonly #operation: Operation;

  constructor(client: Client, shared: Shared, operation: Operation) {
    this.client = client;
    this.shared = shared;
    this.#operation = operation;
    this.args = new ArgReader(this.#memory(0).input);
  }

  /** Empty when the caller sent none. */
  get input(): Uint8Array {
    const parameter = this.#operation.parameters[1];
    return parameter.kind === 'memory' ? parameter.input : new Uint8Array();
  }

  /** @throws TaFailure ARGUMENTS_BAD without a parameter for data, be it empty, where one is needed */
  requireData({ needsData }: { readonly needsData?: boolean }): void {
    const hasParameter = this.#operation.parameters[1].kind === 'memory';
    if (needsData === true && !hasParameter) throw new TaFailure(CKR.ARGUMENTS_BAD);
  }

  get signature(): Uint8Array {
    return this.#memory(2).input;
  }

  get roomBytes(): number {
    return this.#memory(2).capacityBytes;
  }

  /** Reads the session handle that most commands start with. @throws TaFailure SESSION_HANDLE_INVALID */
  session(): Session {
    return this.client.session(this.args.u32());
  }

  /** @throws TaFailure SLOT_ID_INVALID */
  token(): Token {
    const token = this.shared.tokens[this.args.u32()];
    if (token === undefined) throw new TaFailure(CKR.SLOT_ID_INVALID);
    return token;
  }

  /** Room for a structure must have its size, or the two sides disagree about it. */
  requireRoom(bytes: number): void {
    if (this.roomBytes !== bytes) throw new TaFailure(CKR.ARGUMENTS_BAD);
  }

  /** @throws TaFailure BUFFER_TOO_SMALL after telling the caller the size */
  requireRoomFor(bytes: number): void {
    if (bytes <= this.roomBytes) return;
    this.#memory(2).need(bytes);
    throw new TaFailure(CKR.BUFFER_TOO_SMALL);
  }

  /** @throws TaFailure BUFFER_TOO_SMALL after telling the caller the size */
  answer(bytes: Uint8Array): void {
    this.requireRoomFor(bytes.byteLength);
    this.#memory(2).fill(bytes);
  }

  #memory(index: 0 | 2): Memory {
    const parameter = this.#operation.parameters[index];
    if (!(parameter instanceof Memory)) throw new TaFailure(CKR.ARGUMENTS_BAD);
    return parameter;
  }
}
