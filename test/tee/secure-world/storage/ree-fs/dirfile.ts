/**
 * The directory file: which object of which TA is in which numbered file, and the root hash that
 * file must have. It is what makes an old copy of one object useless.
 *
 * Source: OP-TEE 4.10 core/tee/fs_dirfile.c.
 */
import { BLOCK_BYTES, corrupt } from './layout.ts';

export interface Entry {
  /** In memory order, 16 bytes. */
  readonly uuid: Uint8Array;
  /** 0 to 64 bytes. */
  readonly id: Uint8Array;
  readonly rootHash: Uint8Array;
  readonly fileNumber: number;
}

/** A directory as it will be once `content` is committed. */
export interface DirectoryChange {
  readonly slots: ReadonlyMap<number, Entry | undefined>;
  readonly content: Uint8Array;
}

export const MAX_ID_BYTES = 64;
const ENTRY_BYTES = 120;
const UUID_BYTES = 16;
const ID_SIZE_AT = UUID_BYTES + MAX_ID_BYTES;
const HASH_AT = ID_SIZE_AT + 4;
const NUMBER_AT = HASH_AT + 32;

/** The directory in memory. Changes are made in two steps, because a commit can fail between them. */
export class DirectoryIndex {
  #content: Uint8Array;
  readonly #entries: (Entry | undefined)[] = [];
  readonly #slots = new Map<string, number>();
  readonly #fileNumbers = new Set<number>();

  /**
   * @param content - from a verified file
   * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT for entries that OP-TEE would not write
   */
  constructor(name: string, content: Uint8Array) {
    this.#content = content;
    const bytes = Buffer.from(content);
    for (let slot = 0; slot * ENTRY_BYTES < bytes.length; slot += 1) {
      const entry = decodeEntry(bytes.subarray(slot * ENTRY_BYTES, (slot + 1) * ENTRY_BYTES));
      if (entry === 'malformed' || (entry !== undefined && this.#has(entry))) {
        throw corrupt(name, `entry ${String(slot)} is malformed or repeats another`);
      }
      this.#set(slot, entry);
    }
  }

  get content(): Uint8Array {
    return this.#content;
  }

  get fileNumbers(): ReadonlySet<number> {
    return this.#fileNumbers;
  }

  find(uuid: Uint8Array, id: Uint8Array): Entry | undefined {
    const slot = this.#slots.get(keyOf(uuid, id));
    return slot === undefined ? undefined : this.#entries[slot];
  }

  /** Entries of one TA, oldest first. */
  entriesOf(uuid: Uint8Array): readonly Entry[] {
    return this.#entries.filter(
      (entry): entry is Entry => entry !== undefined && isEqual(entry.uuid, uuid),
    );
  }

  /** Lowest first. */
  *freeFileNumbers(): Generator<number, never> {
    for (let fileNumber = 0; ; fileNumber += 1) {
      if (!this.#fileNumbers.has(fileNumber)) yield fileNumber;
    }
  }

  /**
   * Plans to add entries, or to replace those of the same objects where they are.
   *
   * A new entry goes after all others, where OP-TEE takes the first free slot: listing then keeps
   * the order of creation. Slots are renumbered instead when that halves the file.
   *
   * @param entries - of different objects
   */
  planPut(entries: readonly Entry[]): DirectoryChange {
    const after = [...this.#entries];
    for (const entry of entries) {
      after[this.#slots.get(keyOf(entry.uuid, entry.id)) ?? after.length] = entry;
    }
    const before = this.#entries.length;
    const isCrowded =
      after.length * ENTRY_BYTES <= this.#content.byteLength || before < 2 * this.#slots.size;
    const isAsBefore = after.length === before || before < FEW_SLOTS || isCrowded;
    const laid = isAsBefore ? after : after.filter((entry) => entry !== undefined);
    const slots = new Map<number, Entry | undefined>();
    for (let slot = 0; slot < after.length; slot += 1) {
      if (laid[slot] !== this.#entries[slot]) slots.set(slot, laid[slot]);
    }
    return this.#plan(slots);
  }

  /** Plans to give an entry another identifier, where it is. */
  planRenaming(entry: Entry, id: Uint8Array): DirectoryChange {
    const slot = this.#slots.get(keyOf(entry.uuid, entry.id));
    return this.#plan(new Map(slot === undefined ? [] : [[slot, { ...entry, id }]]));
  }

  planRemoval(entry: Entry): DirectoryChange {
    const slot = this.#slots.get(keyOf(entry.uuid, entry.id));
    return this.#plan(new Map(slot === undefined ? [] : [[slot, undefined]]));
  }

  /** Takes a planned change as the truth, after its commit. */
  apply({ slots, content }: DirectoryChange): void {
    for (const slot of slots.keys()) this.#forget(slot);
    for (const [slot, entry] of slots) this.#set(slot, entry);
    this.#content = content;
  }

  #plan(slots: ReadonlyMap<number, Entry | undefined>): DirectoryChange {
    const usedBytes = (Math.max(-1, ...slots.keys()) + 1) * ENTRY_BYTES;
    const content = Buffer.alloc(Math.max(this.#content.byteLength, usedBytes));
    content.set(this.#content);
    for (const [slot, entry] of slots) content.set(encodeEntry(entry), slot * ENTRY_BYTES);
    return { slots, content };
  }

  #has(entry: Entry): boolean {
    return this.#slots.has(keyOf(entry.uuid, entry.id)) || this.#fileNumbers.has(entry.fileNumber);
  }

  #forget(slot: number): void {
    const entry = this.#entries[slot];
    if (entry === undefined) return;
    this.#slots.delete(keyOf(entry.uuid, entry.id));
    this.#fileNumbers.delete(entry.fileNumber);
    this.#entries[slot] = undefined;
    this.#dropFreeTail();
  }

  #set(slot: number, entry: Entry | undefined): void {
    if (entry === undefined) return;
    while (this.#entries.length < slot) this.#entries.push(undefined);
    this.#entries[slot] = entry;
    this.#slots.set(keyOf(entry.uuid, entry.id), slot);
    this.#fileNumbers.add(entry.fileNumber);
  }

  #dropFreeTail(): void {
    while (this.#entries.length > 0 && this.#entries.at(-1) === undefined) this.#entries.pop();
  }
}

/** Blocks that differ between two contents of one file, the second at least as long. */
export function changedBlocks(
  before: Uint8Array,
  after: Uint8Array,
): ReadonlyMap<number, Uint8Array> {
  const changed = new Map<number, Uint8Array>();
  for (let block = 0; block * BLOCK_BYTES < after.byteLength; block += 1) {
    const range = [block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES] as const;
    if (!isEqual(before.subarray(...range), after.subarray(...range))) {
      changed.set(block, after.subarray(...range));
    }
  }
  return changed;
}

/** Below this, packing would save less than a block. */
const FEW_SLOTS = Math.ceil(BLOCK_BYTES / ENTRY_BYTES);

function keyOf(uuid: Uint8Array, id: Uint8Array): string {
  return `${Buffer.from(uuid).toString('hex')}/${Buffer.from(id).toString('hex')}`;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** A free slot has no identifier; the empty identifier is told apart by its first byte, 1. */
function decodeEntry(bytes: Buffer): Entry | undefined | 'malformed' {
  if (bytes.length < ENTRY_BYTES) return 'malformed';
  const idBytes = bytes.readUInt32LE(ID_SIZE_AT);
  if (idBytes === 0 && bytes[UUID_BYTES] === 0) return undefined;
  if (idBytes > MAX_ID_BYTES) return 'malformed';
  return {
    uuid: bytes.subarray(0, UUID_BYTES),
    id: bytes.subarray(UUID_BYTES, UUID_BYTES + idBytes),
    rootHash: bytes.subarray(HASH_AT, NUMBER_AT),
    fileNumber: bytes.readUInt32LE(NUMBER_AT),
  };
}

function encodeEntry(entry: Entry | undefined): Uint8Array {
  const bytes = Buffer.alloc(ENTRY_BYTES);
  if (entry === undefined) return bytes;
  bytes.set(entry.uuid, 0);
  bytes.set(entry.id.byteLength === 0 ? [1] : entry.id, UUID_BYTES);
  bytes.writeUInt32LE(entry.id.byteLength, ID_SIZE_AT);
  bytes.set(entry.rootHash, HASH_AT);
  bytes.writeUInt32LE(entry.fileNumber, NUMBER_AT);
  return bytes;
}
