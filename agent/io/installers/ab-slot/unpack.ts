/**
 * Unpacks an image as it arrives, by the format that was signed; a format is never guessed.
 *
 * gzip and zstd are Node's own; xz is the program of that name. How much may come out is for whoever
 * takes it to bound: by the signed length.
 */
import type { Readable, Writable } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';

import { causeOf } from '../../../errors.ts';

const OUTPUT_BYTES = 256 * 1024;
/** The largest window that `zstd` uses unless it is told to: 128 MiB. */
const ZSTD_WINDOW_LOG = 27;

/** What arrived is not what the format demands. */
export class NotUnpackable extends Error {
  override readonly name = 'NotUnpackable';
}

/** Something that packed bytes go into and unpacked ones come out of. */
export interface Unpacker {
  readonly input: Writable;
  readonly output: Readable;
  /** Whether it is waited for, and not the network. */
  hasTheTurn(itHas: boolean): void;
  /** Something came out of it. */
  moved(): void;
  /**
   * When the output has ended.
   *
   * @throws OtaError INSTALL_FAILED if something else than the image ended it
   */
  demandRan(): Promise<void>;
  /**
   * When the input has ended, too.
   *
   * @param fedBytes - how much went in
   * @throws NotUnpackable if that was not all of one image, and no more
   */
  demandEnd(fedBytes: number): Promise<void>;
  /** What an error of its streams means. */
  explain(error: unknown): unknown;
  close(): void;
}

/**
 * Whether a download was changed or was published wrong is told apart by its hashes: where it cannot
 * be unpacked, the rest is downloaded for their sake.
 *
 * @param packed - fails at its end if it was not what was signed
 * @throws NotUnpackable if the bytes are not of that format, or others follow
 * @throws OtaError INSTALL_FAILED if a program is missing, crashes or hangs; and what `packed` throws
 */
export async function* unpack(
  packed: AsyncIterable<Uint8Array>,
  unpacker: Unpacker,
): AsyncGenerator<Uint8Array> {
  const { input, output } = unpacker;
  // Reported by the iteration of the output; a stream with no listener would end the process.
  for (const stream of [input, output]) stream.on('error', () => undefined);
  const enough = new AbortController();
  const feeding = feed(unpacker, packed, enough.signal);
  try {
    yield* unpackedBytes(unpacker, feeding);
    const { bytes } = await fedAll(feeding);
    await unpacker.demandEnd(bytes);
  } finally {
    enough.abort();
    output.destroy();
    input.destroy();
    unpacker.close();
  }
}

async function* unpackedBytes(
  unpacker: Unpacker,
  feeding: Promise<Fed>,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of unpacker.output) {
      unpacker.moved();
      yield chunk as Uint8Array;
    }
  } catch (error) {
    const why = unpacker.explain(error);
    // The source's own failure has ended the output, or the hashes decide whose fault it is.
    if (why instanceof NotUnpackable) await fedAll(feeding);
    throw why;
  }
  await unpacker.demandRan();
}

interface Fed {
  readonly bytes: number;
  /** What the source failed with. */
  readonly failure: { readonly error: unknown } | undefined;
}

/** @throws what the source failed with */
async function fedAll(feeding: Promise<Fed>): Promise<Fed> {
  const fed = await feeding;
  if (fed.failure !== undefined) throw fed.failure.error;
  return fed;
}

async function feed(
  unpacker: Unpacker,
  packed: AsyncIterable<Uint8Array>,
  enough: AbortSignal,
): Promise<Fed> {
  const { input, output } = unpacker;
  let bytes = 0;
  try {
    unpacker.hasTheTurn(false);
    for await (const chunk of packed) {
      if (enough.aborted) break;
      bytes += chunk.byteLength;
      // It is done or broken: what follows is only counted and hashed.
      if (!input.writable || output.readableEnded) continue;
      unpacker.hasTheTurn(true);
      // A copy: it may still be waiting to be written when the next is asked for.
      if (!input.write(Buffer.from(chunk))) await roomIn(input, output);
      unpacker.hasTheTurn(false);
    }
    unpacker.hasTheTurn(true);
    input.end();
    return { bytes, failure: undefined };
  } catch (error) {
    output.destroy(new NotUnpackable('the download failed', { cause: error }));
    return { bytes, failure: { error } };
  }
}

async function roomIn(input: Writable, output: Readable): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      input.off('drain', done).off('close', done);
      output.off('end', done).off('close', done);
      resolve();
    };
    input.on('drain', done).on('close', done);
    output.on('end', done).on('close', done);
  });
}

export function openZlib(by: 'gzip' | 'zstd'): Unpacker {
  const stream =
    by === 'gzip'
      ? createGunzip({ chunkSize: OUTPUT_BYTES })
      : createZstdDecompress({
          chunkSize: OUTPUT_BYTES,
          params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG },
        });
  return {
    input: stream,
    output: stream,
    hasTheTurn: () => undefined,
    moved: () => undefined,
    demandRan: () => Promise.resolve(),
    demandEnd: async (fedBytes) => {
      const left = fedBytes - stream.bytesWritten;
      if (left > 0) throw new NotUnpackable(`${String(left)} bytes follow the end of the image`);
      return Promise.resolve();
    },
    explain: (error) => {
      if (error instanceof NotUnpackable) return error;
      return new NotUnpackable(causeOf(error), { cause: error });
    },
    close: () => undefined,
  };
}
