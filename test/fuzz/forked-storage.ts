/** Trusted storage that starts as a copy of another, counts its writes and can refuse one. */
import {
  StorageFailure,
  TEE_ERROR_STORAGE_NO_SPACE,
  type TaUuid,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';

/** By TA and identifier, as text; contents are never changed in place. */
export type Snapshot = ReadonlyMap<string, Uint8Array>;

export class ForkedStorage implements TrustedStorage {
  readonly #objects: Map<string, Uint8Array>;
  #failingWrite = 0;
  #writes = 0;

  constructor(snapshot: Snapshot = new Map()) {
    this.#objects = new Map(snapshot);
  }

  get writes(): number {
    return this.#writes;
  }

  /** @param count - 1 for the next one; 0 for none */
  failWrite(count: number): void {
    this.#failingWrite = count === 0 ? 0 : this.#writes + count;
  }

  snapshot(): Snapshot {
    return new Map(this.#objects);
  }

  read(ta: TaUuid, id: Uint8Array): Uint8Array | undefined {
    return this.#objects.get(keyOf(ta, id))?.slice();
  }

  write(ta: TaUuid, id: Uint8Array, data: Uint8Array): void {
    this.#count();
    this.#objects.set(keyOf(ta, id), data.slice());
  }

  remove(ta: TaUuid, id: Uint8Array): boolean {
    this.#count();
    return this.#objects.delete(keyOf(ta, id));
  }

  rename(ta: TaUuid, from: Uint8Array, to: Uint8Array): 'renamed' | 'missing' | 'exists' {
    const data = this.#objects.get(keyOf(ta, from));
    if (data === undefined) return 'missing';
    if (this.#objects.has(keyOf(ta, to))) return 'exists';
    this.#count();
    this.#objects.delete(keyOf(ta, from));
    this.#objects.set(keyOf(ta, to), data);
    return 'renamed';
  }

  list(ta: TaUuid): readonly Uint8Array[] {
    return [...this.#objects.keys()]
      .filter((key) => key.startsWith(ta))
      .map((key) => Uint8Array.from(Buffer.from(key.slice(ta.length + 1), 'hex')));
  }

  close(): void {
    this.#objects.clear();
  }

  #count(): void {
    this.#writes += 1;
    if (this.#writes !== this.#failingWrite) return;
    throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, 'a write fails because the input says so');
  }
}

function keyOf(ta: TaUuid, id: Uint8Array): string {
  return `${ta}/${Buffer.from(id).toString('hex')}`;
}
