/**
 * An emulated RPMB as its host sees it: frames go in, frames come out, and nothing is believed that
 * the key does not vouch for.
 *
 * A write is whole or not at all over a power cut, and the counter changes with it.
 *
 * Source: JEDEC JESD84-B51 §6.6.22.
 */
import type { BlockDirectory } from '../block-file.ts';
import { StorageFailure, TEE_ERROR_STORAGE_NOT_AVAILABLE } from '../trusted-storage.ts';
import { Chip, CHIP_FILE, type ChipParameters } from './chip.ts';
import {
  BLOCK_BYTES,
  COUNTER_EXPIRED,
  decodeFrames,
  encodeFrame,
  isAuthentic,
  MAX_COUNTER,
  REQUEST,
  RESPONSE,
  RESULT,
  sealFrames,
  type Frame,
} from './frame.ts';

/** The bus to an RPMB, in the two commands of an eMMC that it uses. */
export interface RpmbDevice {
  /** What the card says about itself. Nobody vouches for it. */
  readonly parameters: ChipParameters;
  /** CMD25 to the RPMB partition: the frames of one request. */
  send(message: Uint8Array): void;
  /**
   * CMD18 from the RPMB partition: as many frames as are asked for.
   *
   * @throws RangeError for a number that CMD23 can't say
   */
  receive(frameCount: number): Uint8Array;
  close(): void;
}

/**
 * Opens the chip in a directory, or makes one with these parameters, without a key.
 *
 * `close` closes the directory; a failure to open leaves it open.
 *
 * @throws RangeError for parameters that no chip has
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the file there is not a whole chip
 */
export function openRpmbDevice(disk: BlockDirectory, whenNew: ChipParameters): RpmbDevice {
  const known = Chip.open(disk);
  if (known !== undefined) return new EmulatedRpmb(disk, known);
  Chip.make(disk, whenNew);
  const made = Chip.open(disk);
  if (made !== undefined) return new EmulatedRpmb(disk, made);
  const what = `${CHIP_FILE}: is gone as soon as it is made`;
  throw new StorageFailure(TEE_ERROR_STORAGE_NOT_AVAILABLE, what);
}

const MAX_FRAMES = 0xffff;

type Response = Partial<Frame> & Pick<Frame, 'type'>;
type Answer = (frameCount: number) => Uint8Array;

class EmulatedRpmb implements RpmbDevice {
  readonly #disk: BlockDirectory;
  readonly #chip: Chip;
  /** The result register: the response to the last programming or write. */
  #register: Response;
  #answer: Answer | undefined;

  constructor(disk: BlockDirectory, chip: Chip) {
    this.#disk = disk;
    this.#chip = chip;
    this.#register = { type: 0, result: this.#result(RESULT.GENERAL_FAILURE) };
  }

  get parameters(): ChipParameters {
    return { ...this.#chip.parameters, cid: this.#chip.parameters.cid.slice() };
  }

  send(message: Uint8Array): void {
    this.#answer = undefined;
    const frames = decodeFrames(message);
    if (frames === undefined) return;
    const [first] = frames;
    switch (first.type) {
      case REQUEST.PROGRAM_KEY:
        this.#register = { type: RESPONSE.PROGRAM_KEY, result: this.#program(frames) };
        return;
      case REQUEST.WRITE:
        this.#register = this.#write(message, frames);
        return;
      case REQUEST.READ_RESULT:
        this.#answer = (frameCount) => this.#one(frameCount, this.#register);
        return;
      case REQUEST.READ_COUNTER:
        this.#answer = (frameCount) => this.#one(frameCount, this.#counterFor(first));
        return;
      case REQUEST.READ:
        this.#answer = (frameCount) => this.#read(first, frameCount);
        return;
    }
  }

  receive(frameCount: number): Uint8Array {
    if (!Number.isInteger(frameCount) || frameCount < 1 || frameCount > MAX_FRAMES) {
      throw new RangeError(`a transfer has 1 to ${String(MAX_FRAMES)} frames`);
    }
    const answer = this.#answer;
    this.#answer = undefined;
    return answer === undefined ? this.#failing(frameCount, 0) : answer(frameCount);
  }

  close(): void {
    this.#chip.close();
    this.#disk.close();
  }

  #program(frames: readonly [Frame, ...Frame[]]): number {
    if (frames.length !== 1) return this.#result(RESULT.GENERAL_FAILURE);
    // Once only: a host that could replace the key would need no key.
    if (this.#chip.key !== undefined) return this.#result(RESULT.WRITE_FAILURE);
    return this.#result(
      this.#isStored(() => {
        this.#chip.program(frames[0].mac);
      }),
    );
  }

  #write(message: Uint8Array, frames: readonly [Frame, ...Frame[]]): Response {
    const { address } = frames[0];
    const result = this.#result(this.#tryWrite(message, frames));
    return { type: RESPONSE.WRITE, result, address, writeCounter: this.#chip.counter };
  }

  /** In the order of the specification: expiry, address, MAC, counter. */
  #tryWrite(message: Uint8Array, frames: readonly [Frame, ...Frame[]]): number {
    const [first] = frames;
    const { key, counter } = this.#chip;
    if (key === undefined) return RESULT.KEY_NOT_PROGRAMMED;
    if (counter === MAX_COUNTER) return RESULT.WRITE_FAILURE;
    if (!this.#isOneWrite(frames)) return RESULT.GENERAL_FAILURE;
    if (first.address + frames.length > this.#chip.blockCount) return RESULT.ADDRESS_FAILURE;
    if (!isAuthentic(key, message)) return RESULT.AUTHENTICATION_FAILURE;
    if (first.writeCounter !== counter) return RESULT.COUNTER_FAILURE;
    return this.#isStored(() => {
      this.#chip.write(first.address, Buffer.concat(frames.map(({ data }) => data)));
    });
  }

  #isOneWrite(frames: readonly [Frame, ...Frame[]]): boolean {
    const [{ address, writeCounter }] = frames;
    return (
      frames.length <= 2 * this.#chip.parameters.relWrSecC &&
      frames.every(
        (frame) =>
          frame.type === REQUEST.WRITE &&
          frame.blockCount === frames.length &&
          frame.address === address &&
          frame.writeCounter === writeCounter,
      )
    );
  }

  #isStored(store: () => void): number {
    try {
      store();
      return RESULT.OK;
    } catch (error) {
      if (!(error instanceof StorageFailure)) throw error;
      return RESULT.WRITE_FAILURE;
    }
  }

  #counterFor({ nonce }: Frame): Response {
    const { key, counter } = this.#chip;
    const type = RESPONSE.READ_COUNTER;
    if (key === undefined) {
      return { type, nonce, result: this.#result(RESULT.KEY_NOT_PROGRAMMED) };
    }
    return { type, nonce, writeCounter: counter, result: this.#result(RESULT.OK) };
  }

  #read({ nonce, address }: Frame, frameCount: number): Uint8Array {
    const isWithin = address + frameCount <= this.#chip.blockCount;
    const failure = this.#chip.key === undefined ? RESULT.KEY_NOT_PROGRAMMED : undefined;
    const result = this.#result(failure ?? (isWithin ? RESULT.OK : RESULT.ADDRESS_FAILURE));
    const isRead = failure === undefined && isWithin;
    const data = this.#chip.read(address, isRead ? frameCount : 0);
    const frames = Array.from({ length: frameCount }, (_, index) =>
      encodeFrame({
        type: RESPONSE.READ,
        result,
        nonce,
        address,
        blockCount: frameCount,
        data: data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES),
      }),
    );
    return this.#sealed(frames);
  }

  #one(frameCount: number, frame: Response): Uint8Array {
    if (frameCount !== 1) return this.#failing(frameCount, frame.type);
    return this.#sealed([encodeFrame(frame)]);
  }

  #failing(frameCount: number, type: number): Uint8Array {
    const result = this.#result(RESULT.GENERAL_FAILURE);
    return this.#sealed(Array.from({ length: frameCount }, () => encodeFrame({ type, result })));
  }

  #sealed(frames: readonly Buffer[]): Uint8Array {
    const { key } = this.#chip;
    return key === undefined ? Buffer.concat(frames) : sealFrames(key, frames);
  }

  #result(result: number): number {
    return this.#chip.counter === MAX_COUNTER ? result | COUNTER_EXPIRED : result;
  }
}
