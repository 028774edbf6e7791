/** Where things are on the disk of the device: one disk, so that its order of writes is one order. */
import type { Region } from './logged-disk.ts';

const MIB = 1024 * 1024;

/** State of the agent and boot environment, ext4. */
export const DATA: Region = { offsetBytes: 0, lengthBytes: 12 * MIB };
export const SLOTS: Readonly<Record<'a' | 'b', Region>> = {
  a: { offsetBytes: 12 * MIB, lengthBytes: 2 * MIB },
  b: { offsetBytes: 14 * MIB, lengthBytes: 2 * MIB },
};
/** Outside of the device: how far the agent had come when the disk got the write. */
export const MARKS: Region = { offsetBytes: 16 * MIB, lengthBytes: 4096 };
export const DISK_BYTES = MARKS.offsetBytes + MARKS.lengthBytes;

export function isIn({ offsetBytes, lengthBytes }: Region, at: number): boolean {
  return at >= offsetBytes && at < offsetBytes + lengthBytes;
}

export function regionOf(disk: Buffer, { offsetBytes, lengthBytes }: Region): Buffer {
  return disk.subarray(offsetBytes, offsetBytes + lengthBytes);
}
