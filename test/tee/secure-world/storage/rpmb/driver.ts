/**
 * The secure world's side of an RPMB: it believes what the key vouches for, and counts its writes.
 *
 * A write whose response is lost or altered may have happened all the same, or may be held back to
 * happen later. So the counter is read again before anything else is written, and it decides. For
 * this to be sound nobody may hold a write from before: the opening burns one by writing itself.
 *
 * Source: OP-TEE 4.10 core/tee/tee_rpmb_fs.c.
 */
import { createHmac, randomBytes } from 'node:crypto';

import { StorageFailure, TEE_ERROR_COMMUNICATION, TEE_ERROR_SECURITY } from '../trusted-storage.ts';
import type { RpmbDevice } from './device.ts';
import {
  BLOCK_BYTES,
  COUNTER_EXPIRED,
  decodeFrames,
  encodeFrame,
  FRAME_BYTES,
  isAuthentic,
  NONCE_BYTES,
  REQUEST,
  RESPONSE,
  RESULT,
  sealFrames,
  type Frame,
} from './frame.ts';

/** RPMB_MAX_RETRIES. */
const MAX_ATTEMPTS = 10;
const BLOCKS_PER_SIZE_MULT = (128 * 1024) / BLOCK_BYTES;
/** Product revision and checksum: they may change under one and the same chip. */
const CID_VOLATILE_BYTES = [9, 15] as const;

/** What a chip without a key means: one to take over, or one that somebody put there. */
export type WhenUnprogrammed = 'program' | 'refuse';

export interface RpmbDriverOptions {
  readonly device: RpmbDevice;
  /** 16 bytes. */
  readonly huk: Uint8Array;
  /** As CFG_RPMB_WRITE_KEY: the key crosses the bus in clear, so do it where nobody listens. */
  readonly whenUnprogrammed: WhenUnprogrammed;
}

/**
 * The key of a chip: HMAC-SHA256 of its CID with the hardware unique key, 32 bytes.
 *
 * @param cid - 16 bytes
 */
export function deriveRpmbKey(huk: Uint8Array, cid: Uint8Array): Uint8Array {
  const lasting = new Uint8Array(cid);
  for (const at of CID_VOLATILE_BYTES) lasting[at] = 0;
  return createHmac('sha256', huk).update(lasting).digest();
}

export class RpmbDriver {
  readonly blockCount: number;
  /** The most blocks that one write changes together. */
  readonly atomicBlocks: number;
  readonly #device: RpmbDevice;
  readonly #key: Uint8Array;
  #counter: number;
  #mustResync = false;
  #deathCause: string | undefined;

  /**
   * Takes over a chip: programs its key if it has none, synchronizes the counter, and makes every
   * write that somebody may have held back worthless.
   *
   * @throws StorageFailure TEE_ERROR_COMMUNICATION when the chip has no key and shall get none, has
   *   another key, or does not answer
   */
  constructor({ device, huk, whenUnprogrammed }: RpmbDriverOptions) {
    const { cid, sizeMult, relWrSecC } = device.parameters;
    this.#device = device;
    this.#key = deriveRpmbKey(huk, cid);
    this.blockCount = sizeMult * BLOCKS_PER_SIZE_MULT;
    this.atomicBlocks = 2 * relWrSecC;
    if (!this.#hasKey()) this.#program(whenUnprogrammed);
    this.#counter = this.#persist('read its counter', () => this.#readCounter());
    this.#burnPendingWrite();
  }

  /** Successful writes of the chip so far. */
  get writeCounter(): number {
    return this.#counter;
  }

  /** @throws StorageFailure TEE_ERROR_COMMUNICATION after anything went wrong for good */
  assertAlive(): void {
    if (this.#deathCause !== undefined) throw this.#dead(this.#deathCause);
  }

  /**
   * Reads whole blocks, authenticated and fresh.
   *
   * @throws StorageFailure TEE_ERROR_COMMUNICATION
   */
  read(address: number, blockCount: number): Buffer {
    if (blockCount === 0) return Buffer.alloc(0);
    return this.#persist(`read block ${String(address)}`, () => this.#tryRead(address, blockCount));
  }

  /**
   * Writes whole blocks: durable when it returns, `atomicBlocks` at a time.
   *
   * @throws StorageFailure TEE_ERROR_COMMUNICATION
   */
  write(address: number, data: Uint8Array): void {
    const batchBytes = this.atomicBlocks * BLOCK_BYTES;
    for (let at = 0; at < data.byteLength; at += batchBytes) {
      this.#writeBatch(address + at / BLOCK_BYTES, data.subarray(at, at + batchBytes));
    }
  }

  close(): void {
    this.#device.close();
  }

  #tryRead(address: number, blockCount: number): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const request = encodeFrame({ type: REQUEST.READ, nonce, address, blockCount });
    const frames = this.#ask(request, blockCount, RESPONSE.READ);
    const isAnswer = frames.every(
      (frame) => nonce.equals(frame.nonce) && frame.address === address,
    );
    if (!isAnswer) throw new RpmbFault('answered another read than this one');
    return Buffer.concat(frames.map(({ data }) => data));
  }

  #writeBatch(address: number, data: Uint8Array): void {
    this.#persist(`write block ${String(address)}`, () => {
      if (this.#mustResync && this.#hasHappened(address, data)) return;
      this.#mustResync = true;
      this.#tryWrite(address, data);
      this.#mustResync = false;
      this.#counter += 1;
    });
  }

  /** Whether this write, which was signed for the counter of now, was done after all. */
  #hasHappened(address: number, data: Uint8Array): boolean {
    const [before, now] = [this.#counter, this.#readCounter()];
    if (now === before) return false;
    const blockCount = data.byteLength / BLOCK_BYTES;
    if (now !== before + 1 || !this.#tryRead(address, blockCount).equals(data)) {
      this.#deathCause = `its counter is ${String(now)} where ${String(before)} was left: somebody else has written`;
      throw this.#dead(this.#deathCause);
    }
    this.#counter = now;
    this.#mustResync = false;
    return true;
  }

  #tryWrite(address: number, data: Uint8Array): void {
    const blockCount = data.byteLength / BLOCK_BYTES;
    const frames = Array.from({ length: blockCount }, (_, index) =>
      encodeFrame({
        type: REQUEST.WRITE,
        writeCounter: this.#counter,
        address,
        blockCount,
        data: data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES),
      }),
    );
    this.#device.send(sealFrames(this.#key, frames));
    const request = encodeFrame({ type: REQUEST.READ_RESULT });
    const [response] = this.#ask(request, 1, RESPONSE.WRITE);
    if (response.writeCounter !== this.#counter + 1 || response.address !== address) {
      throw new RpmbFault('answered another write than this one');
    }
  }

  #readCounter(): number {
    const nonce = randomBytes(NONCE_BYTES);
    const request = encodeFrame({ type: REQUEST.READ_COUNTER, nonce });
    const [response] = this.#ask(request, 1, RESPONSE.READ_COUNTER);
    if (!nonce.equals(response.nonce)) throw new RpmbFault('answered with another nonce');
    return response.writeCounter;
  }

  /** Nobody vouches for a chip that says it has no key: programming such a one proves nothing. */
  #hasKey(): boolean {
    this.#device.send(encodeFrame({ type: REQUEST.READ_COUNTER, nonce: randomBytes(NONCE_BYTES) }));
    const [response] = decodeFrames(this.#device.receive(1)) ?? [];
    return response?.result !== RESULT.KEY_NOT_PROGRAMMED;
  }

  #program(whenUnprogrammed: WhenUnprogrammed): void {
    if (whenUnprogrammed === 'refuse') {
      throw this.#dead('it has no key, and it shall not be given one');
    }
    this.#device.send(encodeFrame({ type: REQUEST.PROGRAM_KEY, mac: this.#key }));
    const request = encodeFrame({ type: REQUEST.READ_RESULT });
    this.#persist('program its key', () => this.#ask(request, 1, RESPONSE.PROGRAM_KEY));
  }

  /**
   * The first block is written again as it is: this uses up the counter that a captured write from
   * before the start is signed for. Whether ours or that one took it does not matter.
   */
  #burnPendingWrite(): void {
    const first = this.read(0, 1);
    this.write(0, first);
    if (!this.read(0, 1).equals(first)) {
      throw new StorageFailure(
        TEE_ERROR_SECURITY,
        'the RPMB: a write held back from before the start came through, start again',
      );
    }
  }

  #ask(request: Uint8Array, frameCount: number, type: number): readonly [Frame, ...Frame[]] {
    this.#device.send(request);
    const message = this.#device.receive(frameCount);
    const frames = decodeFrames(message);
    if (frames === undefined || message.byteLength !== frameCount * FRAME_BYTES) {
      throw new RpmbFault(`answered ${String(message.byteLength)} bytes`);
    }
    if (!isAuthentic(this.#key, message)) {
      throw new RpmbFault('has another key, or its answer was altered: the MAC is wrong');
    }
    const failed = frames.find((frame) => (frame.result & ~COUNTER_EXPIRED) !== RESULT.OK);
    if (failed !== undefined) throw new RpmbFault(describeResult(failed.result));
    if (frames.some((frame) => frame.type !== type)) {
      throw new RpmbFault('answered another kind of request');
    }
    return frames;
  }

  #persist<T>(what: string, attempt: () => T): T {
    this.assertAlive();
    let fault = '';
    for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts += 1) {
      try {
        return attempt();
      } catch (error) {
        if (!(error instanceof RpmbFault)) throw error;
        fault = error.message;
      }
    }
    this.#deathCause = `cannot ${what}: it ${fault}`;
    throw this.#dead(this.#deathCause);
  }

  #dead(cause: string): StorageFailure {
    return new StorageFailure(
      TEE_ERROR_COMMUNICATION,
      `the RPMB is out of use until the next start: ${cause}`,
    );
  }
}

/** One attempt that failed. */
class RpmbFault extends Error {
  override readonly name = 'RpmbFault';
}

const RESULT_NAMES = [
  'succeeded',
  'reports a general failure',
  'does not accept our MAC',
  'does not accept our write counter',
  'has no such address',
  'cannot write',
  'cannot read',
  'has no key',
];

function describeResult(result: number): string {
  const name = RESULT_NAMES[result & ~COUNTER_EXPIRED] ?? `reports ${String(result)}`;
  return (result & COUNTER_EXPIRED) === 0 ? name : `${name}: its write counter is used up`;
}
