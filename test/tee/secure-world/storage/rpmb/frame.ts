/**
 * The frames in which an RPMB and its host talk: 512 bytes, big-endian, authenticated by one MAC over
 * all frames of a message, which stands in the last.
 *
 * Source: JEDEC JESD84-B51 §6.6.22 (Replay Protected Memory Block).
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export const FRAME_BYTES = 512;
/** What one frame carries, and the unit of addresses. */
export const BLOCK_BYTES = 256;
export const KEY_BYTES = 32;
export const NONCE_BYTES = 16;
export const MAX_COUNTER = 0xffff_ffff;

export const REQUEST = {
  PROGRAM_KEY: 1,
  READ_COUNTER: 2,
  WRITE: 3,
  READ: 4,
  READ_RESULT: 5,
} as const;

/** The response to each request; a result read answers with the response to what was asked before. */
export const RESPONSE = {
  PROGRAM_KEY: 0x0100,
  READ_COUNTER: 0x0200,
  WRITE: 0x0300,
  READ: 0x0400,
} as const;

export const RESULT = {
  OK: 0,
  GENERAL_FAILURE: 1,
  AUTHENTICATION_FAILURE: 2,
  COUNTER_FAILURE: 3,
  ADDRESS_FAILURE: 4,
  WRITE_FAILURE: 5,
  READ_FAILURE: 6,
  KEY_NOT_PROGRAMMED: 7,
} as const;

/** Set in every result once the write counter can't grow any more: nothing can be written again. */
export const COUNTER_EXPIRED = 0x80;

const MAC_BYTES = 32;
const MAC_AT = 196;
const DATA_AT = 228;
const NONCE_AT = 484;
const COUNTER_AT = 500;
const ADDRESS_AT = 504;
const BLOCK_COUNT_AT = 506;
const RESULT_AT = 508;
const TYPE_AT = 510;

export interface Frame {
  /** 32 bytes; the key itself when it is programmed. */
  readonly mac: Uint8Array;
  /** 256 bytes. */
  readonly data: Uint8Array;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  readonly writeCounter: number;
  /** In blocks. */
  readonly address: number;
  readonly blockCount: number;
  readonly result: number;
  readonly type: number;
}

/** What is not given is zero. */
export function encodeFrame(frame: Partial<Frame> & Pick<Frame, 'type'>): Buffer {
  const bytes = Buffer.alloc(FRAME_BYTES);
  if (frame.mac !== undefined) bytes.set(frame.mac, MAC_AT);
  if (frame.data !== undefined) bytes.set(frame.data, DATA_AT);
  if (frame.nonce !== undefined) bytes.set(frame.nonce, NONCE_AT);
  bytes.writeUInt32BE(frame.writeCounter ?? 0, COUNTER_AT);
  bytes.writeUInt16BE(frame.address ?? 0, ADDRESS_AT);
  bytes.writeUInt16BE(frame.blockCount ?? 0, BLOCK_COUNT_AT);
  bytes.writeUInt16BE(frame.result ?? 0, RESULT_AT);
  bytes.writeUInt16BE(frame.type, TYPE_AT);
  return bytes;
}

/**
 * Splits a message into its frames.
 *
 * @returns `undefined` when it is not a positive number of whole frames
 */
export function decodeFrames(message: Uint8Array): readonly [Frame, ...Frame[]] | undefined {
  if (message.byteLength % FRAME_BYTES !== 0) return undefined;
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const [first, ...others] = Array.from({ length: bytes.length / FRAME_BYTES }, (_, index) =>
    decodeFrame(bytes.subarray(index * FRAME_BYTES, (index + 1) * FRAME_BYTES)),
  );
  return first === undefined ? undefined : [first, ...others];
}

/** Joins frames into a message and puts its MAC into the last. */
export function sealFrames(key: Uint8Array, frames: readonly Buffer[]): Buffer {
  const message = Buffer.concat(frames);
  message.set(macOf(key, message), message.length - FRAME_BYTES + MAC_AT);
  return message;
}

/** Whether the last frame's MAC is the message's, compared in constant time. */
export function isAuthentic(key: Uint8Array, message: Uint8Array): boolean {
  const macAt = message.byteLength - FRAME_BYTES + MAC_AT;
  return timingSafeEqual(macOf(key, message), message.subarray(macAt, macAt + MAC_BYTES));
}

function macOf(key: Uint8Array, message: Uint8Array): Buffer {
  const mac = createHmac('sha256', key);
  for (let frame = 0; frame < message.byteLength; frame += FRAME_BYTES) {
    mac.update(message.subarray(frame + DATA_AT, frame + FRAME_BYTES));
  }
  return mac.digest();
}

function decodeFrame(bytes: Buffer): Frame {
  return {
    mac: bytes.subarray(MAC_AT, DATA_AT),
    data: bytes.subarray(DATA_AT, NONCE_AT),
    nonce: bytes.subarray(NONCE_AT, COUNTER_AT),
    writeCounter: bytes.readUInt32BE(COUNTER_AT),
    address: bytes.readUInt16BE(ADDRESS_AT),
    blockCount: bytes.readUInt16BE(BLOCK_COUNT_AT),
    result: bytes.readUInt16BE(RESULT_AT),
    type: bytes.readUInt16BE(TYPE_AT),
  };
}
