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

import { readBytes } from '../../image-file.ts';

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
  const all = Buffer.allocUnsafeSlow(CHUNK_BYTES + PAGE_BYTES);
  for (let at = 0; at < PAGE_BYTES; at += STEP_BYTES) {
    const read = await handle.read(all, at, PAGE_BYTES, 0).catch(refused);
    if (read !== undefined) return all.subarray(at, at + CHUNK_BYTES);
  }
  return undefined;
}

async function* readDirectly(
  handle: FileHandle,
  buffer: Uint8Array,
  lengthBytes: number,
): AsyncGenerator<Uint8Array> {
  for (let position = 0; position < lengthBytes; position += CHUNK_BYTES) {
    // Past the end, too: lengths are aligned, and a device gives what it has.
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, position);
    if (bytesRead > 0) yield buffer.subarray(0, Math.min(bytesRead, lengthBytes - position));
    if (bytesRead < CHUNK_BYTES) return;
  }
}

function refused(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'EINVAL') return undefined;
  throw error;
}
