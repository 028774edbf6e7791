/**
 * The four parameters of one invocation, as the TA sees them: GlobalPlatform TEE Internal Core API
 * v1.3 §4.3.6. Memory is copied in and out, so the client cannot change it under the TA's eyes.
 */

/** Parameter types as packed into `Operation.types`, one nibble each, parameter 0 lowest. */
export const PARAM = {
  NONE: 0,
  VALUE_INPUT: 1,
  VALUE_OUTPUT: 2,
  VALUE_INOUT: 3,
  MEMREF_INPUT: 5,
  MEMREF_OUTPUT: 6,
  MEMREF_INOUT: 7,
} as const;

export interface Value {
  readonly kind: 'value';
  a: number;
  b: number;
}

/** A memory reference. */
export class Memory {
  readonly kind = 'memory';
  /** What the client sent; empty for output-only memory. */
  readonly input: Uint8Array;
  /** Bytes the client has room for. */
  readonly capacityBytes: number;
  /** The client gave a NULL pointer. */
  readonly isNull: boolean;
  #size: number;
  #output: Uint8Array | undefined;

  constructor(input: Uint8Array, capacityBytes: number, isNull: boolean) {
    this.input = input;
    this.capacityBytes = capacityBytes;
    this.isNull = isNull;
    this.#size = capacityBytes;
  }

  /** The size the client will read back. */
  get size(): number {
    return this.#size;
  }

  /** What the client's memory now starts with; `undefined` while the TA has written nothing. */
  get output(): Uint8Array | undefined {
    return this.#output;
  }

  /** Hands `bytes` to the client if there is room; either way the client learns their number. */
  fill(bytes: Uint8Array): boolean {
    const fits = bytes.byteLength <= this.capacityBytes;
    this.#size = bytes.byteLength;
    this.#output = fits ? bytes : undefined;
    return fits;
  }

  /** Tells the client how much room is needed. */
  need(bytes: number): void {
    this.#size = bytes;
    this.#output = undefined;
  }
}

export type Parameter = { readonly kind: 'none' } | Value | Memory;

export interface Operation {
  readonly types: number;
  readonly parameters: readonly [Parameter, Parameter, Parameter, Parameter];
}

export function packTypes(p0: number, p1: number, p2: number, p3: number): number {
  return p0 | (p1 << 4) | (p2 << 8) | (p3 << 12);
}

export function typeAt(types: number, index: number): number {
  return (types >>> (4 * index)) & 0xf;
}
