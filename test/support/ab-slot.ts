/** Two slots, and the installer on a board whose boot loader reads the marker. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { AbSlotInstaller, type AbSlotSettings } from '../../agent/io/installers/ab-slot.ts';
import { Marker } from '../../agent/io/installers/ab-slot/marker.ts';
import type { Running } from '../contract/installer.contract.ts';
import type { Board } from './boot-loader.ts';
import { attachLoop } from './loop-device.ts';

export interface SlotPaths {
  readonly a: string;
  readonly b: string;
}

/** Boots of a trial before the boot loader falls back. */
export const TRIES = 2;

export function openAbSlot(
  slots: SlotPaths,
  board: Board,
  changes: Partial<AbSlotSettings> = {},
): AbSlotInstaller {
  const marker = new Marker(board.marker, TRIES);
  const booted = { bootedPath: board.booted };
  return new AbSlotInstaller({ slots, choice: marker, record: marker, booted, ...changes });
}

export const FACTORY = Buffer.from('factory image');
/** Longer than the buffers of the installer, and no multiple of a block. */
export const UPDATE = Buffer.alloc(1024 * 1024 + 70_017, 'new image ');

/** A block device holds more than its image. */
export function whichImage(content: Buffer): Running {
  if (content.subarray(0, UPDATE.byteLength).equals(UPDATE)) return 'update';
  if (content.subarray(0, FACTORY.byteLength).equals(FACTORY)) return 'factory';
  return `neither: ${content.subarray(0, 32).toString('latin1')}`;
}

/** Slots that are files, with the factory's image in a. */
export function fileSlots(directory: string): SlotPaths {
  const slots = { a: join(directory, 'slot-a'), b: join(directory, 'slot-b') };
  writeFileSync(slots.a, FACTORY);
  writeFileSync(slots.b, '');
  return slots;
}

/** @param content - is there when the device is attached */
export function attachDisk(path: string, bytes: number, content = Buffer.alloc(0)): string {
  writeFileSync(path, Buffer.concat([content, Buffer.alloc(bytes - content.byteLength)]));
  return attachLoop(path);
}

/** A download that may be resumed, in chunks as TLS hands them out. */
export async function* download(content: Buffer, offsetBytes = 0): AsyncGenerator<Uint8Array> {
  for (let at = offsetBytes; at < content.byteLength; at += CHUNK_BYTES) {
    yield await Promise.resolve(content.subarray(at, at + CHUNK_BYTES));
  }
}

const CHUNK_BYTES = 16 * 1024;
export const ignore = (): undefined => undefined;
