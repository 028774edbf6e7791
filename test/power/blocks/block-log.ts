/**
 * Reads what a disk was asked to write, in the format of dm-log-writes.
 *
 * Source: Linux, Documentation/admin-guide/device-mapper/log-writes.rst; QEMU, block/blklogwrites.c.
 */

/** A write in the order in which the disk got it; `undefined` is a flush. */
export type Entry = Write | undefined;

export interface Write {
  readonly offsetBytes: number;
  readonly data: Buffer;
}

const MAGIC = 0x6a736677736872n;
const FLUSH = 1n;

export const SECTOR_BYTES = 512;

/** @throws Error for what is no such log, or has entries that are not understood */
export function parseBlockLog(log: Buffer): readonly Entry[] {
  if (log.length < SECTOR_BYTES || log.readBigUInt64LE(0) !== MAGIC)
    throw new Error('no block log');
  const count = Number(log.readBigUInt64LE(16));
  const entries: Entry[] = [];
  let at = SECTOR_BYTES;
  while (entries.length < count) {
    const [sector, sectors, flags] = [0, 8, 16].map((field) => log.readBigUInt64LE(at + field));
    const lengthBytes = Number(sectors) * SECTOR_BYTES;
    at += SECTOR_BYTES;
    if (flags === FLUSH && lengthBytes === 0) {
      entries.push(undefined);
    } else if (flags === 0n && lengthBytes > 0) {
      const data = log.subarray(at, at + lengthBytes);
      entries.push({ offsetBytes: Number(sector) * SECTOR_BYTES, data });
    } else {
      throw new Error(
        `entry ${String(entries.length)} of the block log has flags ${String(flags)}`,
      );
    }
    at += lengthBytes;
  }
  if (at > log.length) throw new Error('the block log ends early');
  return entries;
}
