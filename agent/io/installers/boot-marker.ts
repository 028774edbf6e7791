/**
 * The active-slot marker: what the boot loader reads to choose a slot, and what it counts down.
 *
 * A text file of `name=value` lines, replaced whole. The boot loader's part is small: with
 * `state=trial` and `tries` above 0 it lowers `tries` by one and boots `active`; with `tries=0` it
 * writes `active` from `fallback` and `state=good` and boots that; with `state=good` it boots `active`.
 */
import { readFile } from 'node:fs/promises';

import { causeOf, OtaError } from '../../errors.ts';
import { replaceFile } from '../durable-file.ts';

export type Slot = 'a' | 'b';

export interface BootMarker {
  readonly active: Slot;
  /** `trial`: not yet confirmed. */
  readonly state: 'good' | 'trial';
  /** Boots left before the fallback is chosen; of meaning in a trial only. */
  readonly tries: number;
  /** The slot to go back to; absent while the other slot holds nothing that boots. */
  readonly fallback: Slot | undefined;
  /** Digest of the proven content of each slot, `sha256:HEX`; absent while it is unknown. */
  readonly images: Readonly<Record<Slot, string | undefined>>;
}

/**
 * Reads the marker; a missing file means slot a, good, as a factory leaves it.
 *
 * @throws OtaError INSTALL_FAILED if it is unreadable or not a marker
 */
export async function readMarker(path: string, ecu: string): Promise<BootMarker> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return FACTORY;
    throw unreadable(path, ecu, causeOf(error));
  }
  return parseMarker(text, path, ecu);
}

export function writeMarker(path: string, marker: BootMarker): Promise<void> {
  return replaceFile(path, formatMarker(marker), 0o644);
}

export function formatMarker(marker: BootMarker): string {
  const lines = [
    `active=${marker.active}`,
    `state=${marker.state}`,
    `tries=${String(marker.tries)}`,
  ];
  if (marker.fallback !== undefined) lines.push(`fallback=${marker.fallback}`);
  for (const slot of ['a', 'b'] as const) {
    const image = marker.images[slot];
    if (image !== undefined) lines.push(`image_${slot}=${image}`);
  }
  return `${lines.join('\n')}\n`;
}

export function otherSlot(slot: Slot): Slot {
  return slot === 'a' ? 'b' : 'a';
}

export function isSlot(text: string | undefined): text is Slot {
  return text === 'a' || text === 'b';
}

const FACTORY: BootMarker = {
  active: 'a',
  state: 'good',
  tries: 0,
  fallback: undefined,
  images: { a: undefined, b: undefined },
};

/** @throws OtaError INSTALL_FAILED naming the line that is wrong */
export function parseMarker(text: string, path: string, ecu: string): BootMarker {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const values = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf('=');
    if (at < 1) throw unreadable(path, ecu, `not a name=value line: ${JSON.stringify(line)}`);
    values.set(line.slice(0, at), line.slice(at + 1));
  }
  const active = values.get('active');
  const state = values.get('state');
  const fallback = values.get('fallback');
  const tries = values.get('tries') ?? '';
  if (!isSlot(active)) throw unreadable(path, ecu, 'active must be a or b');
  if (state !== 'good' && state !== 'trial')
    throw unreadable(path, ecu, 'state must be good or trial');
  if (!/^\d{1,3}$/u.test(tries)) throw unreadable(path, ecu, 'tries must be a number');
  return {
    active,
    state,
    tries: Number(tries),
    fallback: isSlot(fallback) ? fallback : undefined,
    images: { a: values.get('image_a'), b: values.get('image_b') },
  };
}

function unreadable(path: string, ecu: string, problem: string): OtaError<'INSTALL_FAILED'> {
  const cause = `boot marker ${path}: ${problem}; write a good one or remove it to start from slot a`;
  return new OtaError('INSTALL_FAILED', { installer: 'ab-slot', ecu, cause });
}
