/** The attributes of one object: an ordered list of identifiers and values, each at most once. */
import { ArgReader, words } from './args.ts';
import { CKA } from './abi-attributes.ts';
import { CKR } from './abi.ts';
import { TaFailure } from './failure.ts';

/** Identifier and length before each value. */
const HEAD_BYTES = 8;

export interface Attribute {
  readonly id: number;
  readonly value: Uint8Array;
}

export class Attributes {
  readonly #values = new Map<number, Uint8Array>();

  constructor(entries: Iterable<Attribute> = []) {
    for (const { id, value } of entries) this.set(id, value);
  }

  *[Symbol.iterator](): Iterator<Attribute> {
    for (const [id, value] of this.#values) yield { id, value };
  }

  get(id: number): Uint8Array | undefined {
    return this.#values.get(id);
  }

  has(id: number): boolean {
    return this.#values.has(id);
  }

  /** Keeps a copy: what a client sent is only valid until its command returns. */
  set(id: number, value: Uint8Array): void {
    this.#values.set(id, Uint8Array.from(value));
  }

  setBoolean(id: number, value: boolean): void {
    this.set(id, Uint8Array.of(value ? 1 : 0));
  }

  setWord(id: number, value: number): void {
    this.set(id, words(value));
  }

  /** An absent boolean is false. */
  boolean(id: number): boolean {
    return this.#values.get(id)?.[0] === 1;
  }

  /** @returns `undefined` when absent or not four bytes */
  word(id: number): number | undefined {
    const value = this.#values.get(id);
    return value?.byteLength === 4 ? new ArgReader(value).u32() : undefined;
  }

  get objectClass(): number | undefined {
    return this.word(CKA.CLASS);
  }

  get keyType(): number | undefined {
    return this.word(CKA.KEY_TYPE);
  }

  get count(): number {
    return this.#values.size;
  }

  /** Size of the list without its own head. */
  get sizeBytes(): number {
    let size = 0;
    for (const value of this.#values.values()) size += HEAD_BYTES + value.byteLength;
    return size;
  }

  /** As stored and sent: size, count, then each attribute. */
  serialize(): Buffer {
    const parts: Uint8Array[] = [words(this.sizeBytes, this.count)];
    for (const [id, value] of this.#values) parts.push(words(id, value.byteLength), value);
    return Buffer.concat(parts);
  }
}

/**
 * Reads a serialized list, duplicates and all.
 *
 * @throws TaFailure ARGUMENTS_BAD unless size, count and contents agree
 */
export function readAttributeList(reader: ArgReader): readonly Attribute[] {
  const size = reader.u32();
  const count = reader.u32();
  const inner = new ArgReader(reader.bytes(size));
  const list: Attribute[] = [];
  while (inner.leftBytes > 0) list.push({ id: inner.u32(), value: inner.counted() });
  if (list.length !== count) throw new TaFailure(CKR.ARGUMENTS_BAD);
  return list;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
