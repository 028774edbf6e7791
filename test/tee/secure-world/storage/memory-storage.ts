/** Trusted storage that a test throws away: the contract without the disk, and nothing is encrypted. */
import type { Renaming, TaUuid, TrustedStorage } from './trusted-storage.ts';

const MAX_ID_BYTES = 64;

/** @throws RangeError for an identifier of more than 64 bytes, and for any use after `close` */
export function openMemoryStorage(): TrustedStorage {
  return new MemoryStorage();
}

class MemoryStorage implements TrustedStorage {
  readonly #objects = new Map<TaUuid, Map<string, Uint8Array>>();
  #isOpen = true;

  read(ta: TaUuid, id: Uint8Array): Uint8Array | undefined {
    return this.#of(ta).get(keyOf(id))?.slice();
  }

  write(ta: TaUuid, id: Uint8Array, data: Uint8Array): void {
    const objects = this.#of(ta);
    objects.set(keyOf(id), new Uint8Array(data));
    this.#objects.set(ta, objects);
  }

  rename(ta: TaUuid, from: Uint8Array, to: Uint8Array): Renaming {
    const objects = this.#of(ta);
    const [old, fresh] = [keyOf(from), keyOf(to)];
    if (!objects.has(old)) return 'missing';
    if (objects.has(fresh)) return 'exists';
    const renamed = Array.from(objects, ([id, data]) => [id === old ? fresh : id, data] as const);
    this.#objects.set(ta, new Map(renamed));
    return 'renamed';
  }

  remove(ta: TaUuid, id: Uint8Array): boolean {
    return this.#of(ta).delete(keyOf(id));
  }

  list(ta: TaUuid): readonly Uint8Array[] {
    return [...this.#of(ta).keys()].map((id) => new Uint8Array(Buffer.from(id, 'hex')));
  }

  close(): void {
    this.#isOpen = false;
  }

  #of(ta: TaUuid): Map<string, Uint8Array> {
    if (!this.#isOpen) throw new RangeError('the trusted storage is closed');
    return this.#objects.get(ta) ?? new Map<string, Uint8Array>();
  }
}

function keyOf(id: Uint8Array): string {
  if (id.byteLength > MAX_ID_BYTES) throw new RangeError('an object identifier is 0 to 64 bytes');
  return Buffer.from(id).toString('hex');
}
