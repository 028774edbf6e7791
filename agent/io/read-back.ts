/**
 * Reads what is on the medium, not what the kernel remembers of writing it.
 *
 * With O_DIRECT the kernel transfers from the device into our buffer and keeps no copy; a device that
 * lost or changed what it was given shows it here and not at the next boot. File systems without it
 * (some in memory) are read through the page cache: `how` says so.
 *
 * Source: open(2), "O_DIRECT": buffer, position and length have to be aligned.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

import { readBytes } from './image-file.ts';
import { outcome, settled } from './outcome.ts';

const CHUNK_BYTES = 1024 * 1024;
/** No device needs more; memory that Node hands out is aligned to 16. */
const PAGE_BYTES = 4096;
const STEP_BYTES = 16;

export interface ReadBack {
  readonly how: 'direct' | 'cached';
  /** The first `lengthBytes` bytes; ends early where the slot does. Valid until the next is asked for. */
  chunks(lengthBytes: number): AsyncGenerator<Uint8Array>;
  close(): Promise<void>;
}

export async function openReadBack(path: string): Promise<ReadBack> {
  const direct = await open(path, constants.O_RDONLY | constants.O_DIRECT).catch(refused);
  const buffer = direct && (await alignedBuffer(direct));
  if (direct !== undefined && buffer !== undefined) {
    return {
      how: 'direct',
      chunks: (lengthBytes) => readDirectly(direct, buffer, lengthBytes),
      close: () => direct.close(),
    };
  }
  await direct?.close();
  const handle = await open(path, constants.O_RDONLY);
  return {
    how: 'cached',
    chunks: (lengthBytes) => readBytes(handle, lengthBytes),
    close: () => handle.close(),
  };
}

/** Found by trying: Node does not say at which address a buffer is. */
async function alignedBuffer(handle: FileHandle): Promise<Uint8Array | undefined> {
  const all = Buffer.allocUnsafeSlow(2 * CHUNK_BYTES + PAGE_BYTES);
  for (let at = 0; at < PAGE_BYTES; at += STEP_BYTES) {
    const read = await handle.read(all, at, PAGE_BYTES, 0).catch(refused);
    if (read !== undefined) return all.subarray(at, at + 2 * CHUNK_BYTES);
  }
  return undefined;
}

/** One half of `buffer` is read into while the other is looked at. */
async function* readDirectly(
  handle: FileHandle,
  buffer: Uint8Array,
  lengthBytes: number,
): AsyncGenerator<Uint8Array> {
  // Past the end, too: lengths are aligned, and a device gives what it has.
  const read = async (half: number, position: number): Promise<number> =>
    position < lengthBytes
      ? (await handle.read(buffer, half * CHUNK_BYTES, CHUNK_BYTES, position)).bytesRead
      : 0;
  let half = 0;
  let reading = outcome(read(half, 0));
  try {
    for (let position = 0; position < lengthBytes; position += CHUNK_BYTES) {
      const bytesRead = await settled(reading);
      const whole = buffer.subarray(half * CHUNK_BYTES, half * CHUNK_BYTES + bytesRead);
      half = 1 - half;
      reading = outcome(
        bytesRead < CHUNK_BYTES ? Promise.resolve(0) : read(half, position + CHUNK_BYTES),
      );
      if (bytesRead > 0) yield whole.subarray(0, lengthBytes - position);
      if (bytesRead < CHUNK_BYTES) return;
    }
  } finally {
    await reading;
  }
}

function refused(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'EINVAL') return undefined;
  throw error;
}
