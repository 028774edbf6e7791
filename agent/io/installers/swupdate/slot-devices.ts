/** The devices of a slot: how much they hold, and whether what was written is there. */
import { createReadStream } from 'node:fs';
import { open, readFile, realpath, stat, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';

import { OtaError } from '../../../errors.ts';
import type { SlotImage } from './slot-guard.ts';
import type { SwuArchive, SwuEntry } from './swu-archive.ts';

/**
 * What can be copied as it is, alone on its device: its size there is known, and it can be read back.
 *
 * Anything else is SWUpdate's to prove while it writes.
 */
export function* copies(
  images: readonly SlotImage[],
  archive: SwuArchive,
): Generator<{ device: string; entry: SwuEntry; filename: string }> {
  for (const { device, filename, type, asIs } of images) {
    const entry = archive.entries.get(filename);
    const alone = images.filter((image) => image.device === device).length === 1;
    if (type === 'raw' && asIs && alone && entry !== undefined) yield { device, entry, filename };
  }
}

/** @throws OtaError SPACE_INSUFFICIENT */
export async function refuseTooLarge(device: string, { sizeBytes }: SwuEntry): Promise<void> {
  if (!(await stat(device)).isBlockDevice()) return;
  const name = basename(await realpath(device));
  const freeBytes = Number(await readFile(`/sys/class/block/${name}/size`, 'utf8')) * 512;
  if (sizeBytes <= freeBytes) return;
  throw new OtaError('SPACE_INSUFFICIENT', { path: device, neededBytes: sizeBytes, freeBytes });
}

/** SWUpdate's raw handler closes a device without asking whether all of it has arrived. */
export async function syncDevice(device: string): Promise<void> {
  const handle = await open(device, 'r+');
  await handle.sync().finally(() => handle.close());
}

/** @throws Error at the first byte that is not that of the archive */
export async function readBack(
  device: string,
  { offset, sizeBytes }: SwuEntry,
  archivePath: string,
): Promise<void> {
  if (sizeBytes === 0) return;
  const handle = await open(device, 'r');
  try {
    let at = 0;
    const source = createReadStream(archivePath, { start: offset, end: offset + sizeBytes - 1 });
    for await (const chunk of source as AsyncIterable<Buffer>) {
      if (!(await holds(handle, chunk, at))) {
        throw new Error(`${device} does not hold what was written, from byte ${String(at)} on`);
      }
      at += chunk.byteLength;
    }
  } finally {
    await handle.close();
  }
}

async function holds(handle: FileHandle, expected: Buffer, at: number): Promise<boolean> {
  const found = Buffer.allocUnsafe(expected.byteLength);
  let done = 0;
  while (done < found.byteLength) {
    const { bytesRead } = await handle.read(found, done, found.byteLength - done, at + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return found.equals(expected);
}
