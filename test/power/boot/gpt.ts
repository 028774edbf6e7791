/**
 * A partition table: only what comes first on the disk, which is what GRUB reads.
 *
 * Source: UEFI Specification 2.10 §5.3.
 */
import { crc32 } from 'node:zlib';

export const SECTOR_BYTES = 512;

export interface Partition {
  /** 16 bytes, as on the disk. */
  readonly type: Buffer;
  readonly name: string;
  readonly firstSector: number;
  readonly sectors: number;
}

const ENTRY_BYTES = 128;
const ENTRIES = 128;
const HEADER_BYTES = 92;
const PROTECTIVE = 0xee;

/** Leaves the boot code in the first sector alone. */
export function writeGpt(disk: Buffer, partitions: readonly Partition[]): void {
  const sectors = disk.length / SECTOR_BYTES;
  const firstUsable = 2 + (ENTRIES * ENTRY_BYTES) / SECTOR_BYTES;
  disk.writeUInt8(PROTECTIVE, 0x1be + 4);
  disk.writeUInt32LE(1, 0x1be + 8);
  disk.writeUInt32LE(sectors - 1, 0x1be + 12);
  disk.writeUInt16LE(0xaa55, 0x1fe);
  const entries = disk.subarray(2 * SECTOR_BYTES, firstUsable * SECTOR_BYTES);
  for (const [index, partition] of partitions.entries()) {
    const entry = entries.subarray(index * ENTRY_BYTES, (index + 1) * ENTRY_BYTES);
    partition.type.copy(entry, 0);
    entry.writeUInt32LE(index + 1, 16);
    entry.writeBigUInt64LE(BigInt(partition.firstSector), 32);
    entry.writeBigUInt64LE(BigInt(partition.firstSector + partition.sectors - 1), 40);
    entry.write(partition.name, 56, 'utf16le');
  }
  const header = disk.subarray(SECTOR_BYTES, SECTOR_BYTES + HEADER_BYTES);
  header.write('EFI PART');
  header.writeUInt32LE(0x10000, 8);
  header.writeUInt32LE(HEADER_BYTES, 12);
  const places = [1, sectors - 1, firstUsable, sectors - 1];
  for (const [index, place] of places.entries()) {
    header.writeBigUInt64LE(BigInt(place), 24 + index * 8);
  }
  header.writeBigUInt64LE(2n, 72);
  header.writeUInt32LE(ENTRIES, 80);
  header.writeUInt32LE(ENTRY_BYTES, 84);
  header.writeUInt32LE(crc32(entries), 88);
  header.writeUInt32LE(crc32(header), 16);
}
