/** One journal slot of an emulated chip: all that changes with a write, under one digest. */
import { createHash } from 'node:crypto';

import { BLOCK_BYTES, KEY_BYTES } from './frame.ts';

export interface ChipRecord {
  /** Of this change; one more with each. */
  readonly sequence: number;
  /** The chip's write counter after this change. */
  readonly counter: number;
  readonly key: Uint8Array | undefined;
  /** In blocks. */
  readonly address: number;
  /** Whole blocks. */
  readonly data: Uint8Array;
}

const DIGEST_BYTES = 32;
const SEQUENCE_AT = DIGEST_BYTES;
const COUNTER_AT = SEQUENCE_AT + 8;
const HAS_KEY_AT = COUNTER_AT + 4;
const KEY_AT = HAS_KEY_AT + 4;
const ADDRESS_AT = KEY_AT + KEY_BYTES;
const BLOCK_COUNT_AT = ADDRESS_AT + 4;
export const RECORD_HEAD_BYTES = BLOCK_COUNT_AT + 4;

export function encodeRecord(record: ChipRecord): Uint8Array {
  const bytes = Buffer.alloc(RECORD_HEAD_BYTES + record.data.byteLength);
  bytes.writeBigUInt64LE(BigInt(record.sequence), SEQUENCE_AT);
  bytes.writeUInt32LE(record.counter, COUNTER_AT);
  bytes.writeUInt32LE(record.key === undefined ? 0 : 1, HAS_KEY_AT);
  bytes.set(record.key ?? new Uint8Array(KEY_BYTES), KEY_AT);
  bytes.writeUInt32LE(record.address, ADDRESS_AT);
  bytes.writeUInt32LE(record.data.byteLength / BLOCK_BYTES, BLOCK_COUNT_AT);
  bytes.set(record.data, RECORD_HEAD_BYTES);
  bytes.set(digestOf(bytes));
  return bytes;
}

/** @returns `undefined` for a slot that is torn or was never written */
export function decodeRecord(slot: Buffer): ChipRecord | undefined {
  const end = RECORD_HEAD_BYTES + slot.readUInt32LE(BLOCK_COUNT_AT) * BLOCK_BYTES;
  if (end > slot.length) return undefined;
  const bytes = slot.subarray(0, end);
  if (!digestOf(bytes).equals(bytes.subarray(0, DIGEST_BYTES))) return undefined;
  const hasKey = bytes.readUInt32LE(HAS_KEY_AT) === 1;
  return {
    sequence: Number(bytes.readBigUInt64LE(SEQUENCE_AT)),
    counter: bytes.readUInt32LE(COUNTER_AT),
    key: hasKey ? new Uint8Array(bytes.subarray(KEY_AT, ADDRESS_AT)) : undefined,
    address: bytes.readUInt32LE(ADDRESS_AT),
    data: new Uint8Array(bytes.subarray(RECORD_HEAD_BYTES)),
  };
}

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes.subarray(DIGEST_BYTES)).digest();
}
