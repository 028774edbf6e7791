/**
 * What an emulated RPMB chip remembers: its key, its write counter and its blocks, in one file of a
 * fixed size.
 *
 * The file is the chip: whoever can write it can do what nobody can do to a chip, above all put an
 * older one in its place. It also holds the key in clear. Never take it for protection.
 *
 * Each write goes first into the older of two journal slots, with the counter, under a digest: this
 * sync is the commit. Its blocks go to their places in the image only with the next write, so that
 * its sync serves both. An opening puts there what both slots hold before either is used again.
 */
import { createHash } from 'node:crypto';

import { publish, type BlockDirectory, type BlockFile } from '../block-file.ts';
import { StorageFailure, TEE_ERROR_CORRUPT_OBJECT } from '../trusted-storage.ts';
import { BLOCK_BYTES } from './frame.ts';
import { decodeRecord, encodeRecord, RECORD_HEAD_BYTES, type ChipRecord } from './chip-record.ts';

/** What is fixed when a chip is made. */
export interface ChipParameters {
  /** The card's identification register, 16 bytes. */
  readonly cid: Uint8Array;
  /** RPMB_SIZE_MULT: the size in units of 128 KiB, 1 to 128. */
  readonly sizeMult: number;
  /** REL_WR_SEC_C: the largest reliable write in sectors of 512 bytes, 1 to 32. */
  readonly relWrSecC: number;
}

export const CHIP_FILE = 'rpmb';
export const CID_BYTES = 16;
const SIZE_UNIT_BYTES = 128 * 1024;
const MAX_SIZE_MULT = 128;
const MAX_REL_WR_SEC_C = 32;

const MAGIC = Buffer.from('RPMBCHIP');
const HEAD_BYTES = 4096;
const CID_AT = 16;
const DIGEST_AT = 32;

export class Chip {
  readonly parameters: ChipParameters;
  readonly #file: BlockFile;
  readonly #image: Buffer;
  #last: ChipRecord;

  /**
   * Opens the chip in a directory.
   *
   * @returns `undefined` when there is none
   * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the file is not a whole chip
   */
  static open(disk: BlockDirectory): Chip | undefined {
    const file = disk.open(CHIP_FILE);
    if (file === undefined) return undefined;
    try {
      return new Chip(file);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /**
   * Makes a chip without a key, whole and durably.
   *
   * @throws RangeError for parameters that no chip has
   */
  static make(disk: BlockDirectory, parameters: ChipParameters): void {
    const blank = { sequence: 0, counter: 0, key: undefined, address: 0, data: new Uint8Array(0) };
    const bytes = new Uint8Array(imageOffset(parameters) + sizeBytes(parameters));
    bytes.set(encodeParameters(parameters));
    bytes.set(encodeRecord(blank), slotOffset(parameters, 0));
    publish(disk, CHIP_FILE, bytes);
  }

  private constructor(file: BlockFile) {
    // A killed process may have left its last write in the system's cache only.
    file.sync();
    const bytes = Buffer.from(file.read());
    this.#file = file;
    this.parameters = decodeParameters(bytes);
    if (bytes.length !== imageOffset(this.parameters) + sizeBytes(this.parameters)) {
      throw corrupt(`has ${String(bytes.length)} bytes, not what its size_mult says`);
    }
    this.#image = bytes.subarray(imageOffset(this.parameters));
    const records = readRecords(bytes, this.parameters);
    for (const record of records) this.#image.set(record.data, record.address * BLOCK_BYTES);
    for (const { address, data } of records) this.#writeImage(address, data.byteLength);
    file.sync();
    this.#last = records[records.length - 1] ?? records[0];
  }

  get key(): Uint8Array | undefined {
    return this.#last.key;
  }

  get counter(): number {
    return this.#last.counter;
  }

  get blockCount(): number {
    return this.#image.length / BLOCK_BYTES;
  }

  read(address: number, blockCount: number): Uint8Array {
    const range = [address * BLOCK_BYTES, (address + blockCount) * BLOCK_BYTES] as const;
    return new Uint8Array(this.#image.subarray(...range));
  }

  /** Durable when it returns; nothing has changed when it throws. */
  program(key: Uint8Array): void {
    this.#commit({ key: new Uint8Array(key), address: 0, data: new Uint8Array(0) }, this.counter);
  }

  /** Writes whole blocks and counts the write. Durable when it returns. */
  write(address: number, data: Uint8Array): void {
    this.#commit({ key: this.key, address, data: new Uint8Array(data) }, this.counter + 1);
    this.#image.set(data, address * BLOCK_BYTES);
  }

  close(): void {
    this.#file.close();
  }

  #commit(change: Pick<ChipRecord, 'key' | 'address' | 'data'>, counter: number): void {
    this.#writeImage(this.#last.address, this.#last.data.byteLength);
    const next = { ...change, counter, sequence: this.#last.sequence + 1 };
    const offsetBytes = slotOffset(this.parameters, next.sequence % 2);
    this.#file.write({ offsetBytes, bytes: encodeRecord(next) });
    this.#file.sync();
    this.#last = next;
  }

  #writeImage(address: number, lengthBytes: number): void {
    if (lengthBytes === 0) return;
    const from = address * BLOCK_BYTES;
    const bytes = this.#image.subarray(from, from + lengthBytes);
    this.#file.write({ offsetBytes: imageOffset(this.parameters) + from, bytes });
  }
}

function readRecords(bytes: Buffer, parameters: ChipParameters): [ChipRecord, ...ChipRecord[]] {
  const [first, second] = [0, 1]
    .map((slot) => slotOffset(parameters, slot))
    .map((at) => decodeRecord(bytes.subarray(at, at + slotBytes(parameters))))
    .filter((record) => record !== undefined)
    .sort((a, b) => a.sequence - b.sequence);
  if (first === undefined) throw corrupt('neither of its journal slots is whole');
  if (second === undefined) return [first];
  if (second.sequence - first.sequence !== 1) throw corrupt('its journal slots are not neighbours');
  return [first, second];
}

/** Of a write of all blocks that the chip takes at once. */
function slotBytes({ relWrSecC }: ChipParameters): number {
  return Math.ceil((RECORD_HEAD_BYTES + relWrSecC * 2 * BLOCK_BYTES) / HEAD_BYTES) * HEAD_BYTES;
}

function slotOffset(parameters: ChipParameters, slot: number): number {
  return HEAD_BYTES + slot * slotBytes(parameters);
}

function imageOffset(parameters: ChipParameters): number {
  return slotOffset(parameters, 2);
}

function sizeBytes({ sizeMult }: ChipParameters): number {
  return sizeMult * SIZE_UNIT_BYTES;
}

function encodeParameters({ cid, sizeMult, relWrSecC }: ChipParameters): Uint8Array {
  if (!isPossible({ cid, sizeMult, relWrSecC })) {
    throw new RangeError(
      `an RPMB has a CID of ${String(CID_BYTES)} bytes, a size_mult of 1 to ${String(MAX_SIZE_MULT)} and a rel_wr_sec_c of 1 to ${String(MAX_REL_WR_SEC_C)}`,
    );
  }
  const bytes = Buffer.alloc(HEAD_BYTES);
  bytes.set(MAGIC);
  bytes.writeUInt32LE(sizeMult, 8);
  bytes.writeUInt32LE(relWrSecC, 12);
  bytes.set(cid, CID_AT);
  bytes.set(digestOf(bytes), DIGEST_AT);
  return bytes;
}

function decodeParameters(bytes: Buffer): ChipParameters {
  if (bytes.length < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw corrupt('is not an emulated RPMB');
  }
  if (!bytes.subarray(DIGEST_AT, DIGEST_AT + 32).equals(digestOf(bytes))) {
    throw corrupt('its first block is damaged');
  }
  return {
    cid: new Uint8Array(bytes.subarray(CID_AT, CID_AT + CID_BYTES)),
    sizeMult: bytes.readUInt32LE(8),
    relWrSecC: bytes.readUInt32LE(12),
  };
}

function isPossible({ cid, sizeMult, relWrSecC }: ChipParameters): boolean {
  const isWithin = (value: number, most: number): boolean =>
    Number.isInteger(value) && value >= 1 && value <= most;
  return (
    cid.byteLength === CID_BYTES &&
    isWithin(sizeMult, MAX_SIZE_MULT) &&
    isWithin(relWrSecC, MAX_REL_WR_SEC_C)
  );
}

function digestOf(head: Buffer): Buffer {
  return createHash('sha256').update(head.subarray(0, DIGEST_AT)).digest();
}

function corrupt(problem: string): StorageFailure {
  return new StorageFailure(TEE_ERROR_CORRUPT_OBJECT, `${CHIP_FILE}: ${problem}`);
}
