/** The parameters of a command, once their types are known to be right. */
import type { ObjectId } from '../../tee/secure-world/objects/place.ts';
import { StorageFailure } from '../../tee/secure-world/storage/trusted-storage.ts';
import { Memory, type Operation, type Value } from '../../tee/secure-world/world/operation.ts';
import { TEE } from '../../tee/secure-world/world/results.ts';

export class Parameters {
  readonly types: number;
  readonly #operation: Operation;

  constructor(operation: Operation) {
    this.types = operation.types;
    this.#operation = operation;
  }

  value(index: number): Value {
    const parameter = this.#operation.parameters[index];
    if (parameter?.kind === 'value') return parameter;
    throw new TypeError(`parameter ${String(index)} is no value`);
  }

  setValue(index: number, { a, b }: { readonly a?: number; readonly b?: number }): void {
    const value = this.value(index);
    if (a !== undefined) value.a = a;
    if (b !== undefined) value.b = b;
  }

  bytes(index: number): Uint8Array {
    return this.#memory(index).input;
  }

  /** @param whose - the bytes as the TA's own, or as they lie in the client's memory */
  id(index: number, whose: 'own' | 'client'): ObjectId {
    const memory = this.#memory(index);
    return whose === 'own' ? memory.input : memory;
  }

  /** In bytes. */
  room(index: number): number {
    return this.#memory(index).capacityBytes;
  }

  /** @throws StorageFailure TEE_ERROR_SHORT_BUFFER, and tells the client what is needed */
  assertRoom(index: number, sizeBytes: number): void {
    if (this.room(index) >= sizeBytes) return;
    this.#memory(index).need(sizeBytes);
    throw new StorageFailure(TEE.SHORT_BUFFER, `parameter ${String(index)} is too short`);
  }

  fill(index: number, bytes: Uint8Array): void {
    this.#memory(index).fill(bytes);
  }

  #memory(index: number): Memory {
    const parameter = this.#operation.parameters[index];
    if (parameter instanceof Memory) return parameter;
    throw new TypeError(`parameter ${String(index)} is no memory`);
  }
}
