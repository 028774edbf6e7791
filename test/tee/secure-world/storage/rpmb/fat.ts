/**
 * The table of files of an RPMB-FS: read once, then kept in memory; each change is one block, and so
 * whole or not at all.
 *
 * Entries are 256 bytes from address 512 on; the last one, always free, says so. Contents lie from
 * the top downwards, and whatever no entry names is free.
 *
 * Source: OP-TEE 4.10 core/tee/tee_rpmb_fs.c (struct rpmb_fat_entry, read_fat).
 */
import { FEK_BYTES } from '../ree-fs/keys.ts';
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  TEE_ERROR_STORAGE_NO_SPACE,
} from '../trusted-storage.ts';
import type { RpmbDriver } from './driver.ts';
import { BLOCK_BYTES } from './frame.ts';

export interface FatEntry {
  readonly name: string;
  readonly startBlock: number;
  readonly lengthBytes: number;
  /** Wrapped, 16 bytes. */
  readonly fek: Uint8Array;
}

/** A place that an entry can take. */
export interface FreeEntry {
  readonly index: number;
  /** Whether it is the last one, so that another must follow it first. */
  readonly isLast: boolean;
}

export const FAT_START_BYTES = 512;
const FAT_START_BLOCK = FAT_START_BYTES / BLOCK_BYTES;
const ACTIVE = 1;
const LAST = 2;
const FLAGS_AT = 8;
const FEK_AT = 16;
const NAME_AT = FEK_AT + FEK_BYTES;
const MAX_NAME_BYTES = BLOCK_BYTES - NAME_AT - 1;

export class Fat {
  readonly #driver: RpmbDriver;
  readonly #entries: (FatEntry | undefined)[];
  readonly #places: Map<string, number>;

  /** Writes the one entry of a table without files. */
  static format(driver: RpmbDriver): void {
    driver.write(FAT_START_BLOCK, encodeEntry(undefined, LAST));
  }

  /** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT for entries that OP-TEE would not write */
  constructor(driver: RpmbDriver) {
    this.#driver = driver;
    this.#entries = readEntries(driver);
    this.#places = new Map();
    this.#entries.forEach((entry, index) => {
      if (entry === undefined) return;
      if (this.#places.has(entry.name)) throw corrupt(`there are two files ${entry.name}`);
      this.#places.set(entry.name, index);
    });
    this.#assertNoOverlap();
  }

  names(): readonly string[] {
    return this.#entries.flatMap((entry) => (entry === undefined ? [] : [entry.name]));
  }

  find(name: string): { readonly index: number; readonly entry: FatEntry } | undefined {
    const index = this.#places.get(name);
    const entry = index === undefined ? undefined : this.#entries[index];
    return index === undefined || entry === undefined ? undefined : { index, entry };
  }

  /** Writes one entry; `undefined` frees it. Durable when it returns. */
  set(index: number, entry: FatEntry | undefined): void {
    this.#driver.write(FAT_START_BLOCK + index, encodeEntry(entry, 0));
    const before = this.#entries[index];
    if (before !== undefined) this.#places.delete(before.name);
    this.#entries[index] = entry;
    if (entry !== undefined) this.#places.set(entry.name, index);
  }

  /** The first free entry, as OP-TEE takes it. */
  firstFree(): FreeEntry {
    const index = this.#entries.indexOf(undefined);
    return { index, isLast: index === this.#entries.length - 1 };
  }

  /** Appends a free last entry, so that the one before may be used. Durable when it returns. */
  expand(): void {
    this.#driver.write(FAT_START_BLOCK + this.#entries.length, encodeEntry(undefined, LAST));
    this.#entries.push(undefined);
  }

  /**
   * Finds room for contents, the highest there is.
   *
   * @param entryCount - how many entries will be added to the table
   * @returns the first block
   * @throws StorageFailure TEE_ERROR_STORAGE_NO_SPACE
   */
  allocate(lengthBytes: number, entryCount: 0 | 1): number {
    const blocks = blocksOf(lengthBytes);
    const tableEnd = FAT_START_BLOCK + this.#entries.length + entryCount;
    const table = { start: 0, end: tableEnd };
    const areas = this.#areas();
    const lowest = areas.at(-1)?.start ?? endBlock(this.#driver);
    let limit = endBlock(this.#driver);
    for (const { start, end } of lowest < tableEnd ? [] : [...areas, table]) {
      if (limit - end >= blocks) return limit - blocks;
      limit = start;
    }
    const what = `the RPMB has no room for ${String(lengthBytes)} bytes in one piece`;
    throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, what);
  }

  /** Areas in use, highest first. */
  #areas(): readonly { readonly start: number; readonly end: number }[] {
    return this.#entries
      .flatMap((entry) => (entry === undefined || entry.lengthBytes === 0 ? [] : [entry]))
      .map(({ startBlock, lengthBytes }) => ({
        start: startBlock,
        end: startBlock + blocksOf(lengthBytes),
      }))
      .sort((a, b) => b.start - a.start);
  }

  #assertNoOverlap(): void {
    let limit = endBlock(this.#driver);
    for (const { start, end } of this.#areas()) {
      if (end > limit)
        throw corrupt(`two files share block ${String(start)}, or it does not exist`);
      limit = start;
    }
    if (limit < FAT_START_BLOCK + this.#entries.length) {
      throw corrupt(`a file starts at block ${String(limit)}, within the table`);
    }
  }
}

export function blocksOf(lengthBytes: number): number {
  return Math.ceil(lengthBytes / BLOCK_BYTES);
}

/** OP-TEE takes the number of the last block for the number of blocks, and so never uses it. */
function endBlock({ blockCount }: RpmbDriver): number {
  return blockCount - 1;
}

function readEntries(driver: RpmbDriver): (FatEntry | undefined)[] {
  const entries: (FatEntry | undefined)[] = [];
  for (let block = FAT_START_BLOCK; block < endBlock(driver); block += READ_BLOCKS) {
    const count = Math.min(READ_BLOCKS, endBlock(driver) - block);
    const bytes = driver.read(block, count);
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const entry = bytes.subarray(at, at + BLOCK_BYTES);
      entries.push(decodeEntry(entry));
      if ((entry.readUInt32LE(FLAGS_AT) & LAST) !== 0) return withoutFileInLast(entries);
    }
  }
  throw corrupt('its table of files has no end');
}

/** OP-TEE stops there, and would never see what such an entry holds. */
function withoutFileInLast(entries: (FatEntry | undefined)[]): (FatEntry | undefined)[] {
  if (entries.at(-1) !== undefined) throw corrupt('the last entry of its table is in use');
  return entries;
}

/** Entries that are read together. */
const READ_BLOCKS = 32;

function decodeEntry(bytes: Buffer): FatEntry | undefined {
  if ((bytes.readUInt32LE(FLAGS_AT) & ACTIVE) === 0) return undefined;
  const start = bytes.readUInt32LE(0);
  const nameEnd = bytes.indexOf(0, NAME_AT);
  if (start % BLOCK_BYTES !== 0 || nameEnd < 0)
    throw corrupt('an entry of its table makes no sense');
  return {
    name: bytes.toString('latin1', NAME_AT, nameEnd),
    startBlock: start / BLOCK_BYTES,
    lengthBytes: bytes.readUInt32LE(4),
    fek: new Uint8Array(bytes.subarray(FEK_AT, NAME_AT)),
  };
}

function encodeEntry(entry: FatEntry | undefined, flags: number): Uint8Array {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  bytes.writeUInt32LE(flags | (entry === undefined ? 0 : ACTIVE), FLAGS_AT);
  if (entry === undefined) return bytes;
  if (entry.name.length > MAX_NAME_BYTES) throw new RangeError(`${entry.name} is too long a name`);
  bytes.writeUInt32LE(entry.startBlock * BLOCK_BYTES, 0);
  bytes.writeUInt32LE(entry.lengthBytes, 4);
  bytes.set(entry.fek, FEK_AT);
  bytes.write(entry.name, NAME_AT, 'latin1');
  return bytes;
}

function corrupt(problem: string): StorageFailure {
  return new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, `the RPMB-FS: ${problem}`);
}
