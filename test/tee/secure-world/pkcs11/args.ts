/** Bounded reader and writer for the serialized arguments of one command: little-endian, unaligned. */
import { CKR } from './abi.ts';
import { TaFailure } from './failure.ts';

export class ArgReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    const { buffer, byteOffset, byteLength } = bytes;
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(buffer, byteOffset, byteLength);
  }

  get leftBytes(): number {
    return this.#bytes.byteLength - this.#offset;
  }

  u32(): number {
    const at = this.#take(4);
    return this.#bytes.readUInt32LE(at);
  }

  /** A view, not a copy: valid until the command returns. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Bytes preceded by their number. */
  counted(): Uint8Array {
    return this.bytes(this.u32());
  }

  /** Trailing bytes are an error: the caller and the TA disagree about the command. */
  end(): void {
    if (this.leftBytes !== 0) throw new TaFailure(CKR.ARGUMENTS_BAD);
  }

  #take(length: number): number {
    const at = this.#offset;
    if (length > this.leftBytes) throw new TaFailure(CKR.ARGUMENTS_BAD);
    this.#offset = at + length;
    return at;
  }
}

/** Numbers one after another. */
export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  let at = 0;
  for (const value of values) at = bytes.writeUInt32LE(value >>> 0, at);
  return bytes;
}
