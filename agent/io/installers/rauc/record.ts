/**
 * Which image went into which slot, as this agent saw it.
 *
 * RAUC 1.8 notes what it installs only when it is done: after a power cut in between, its own status
 * still calls the slot good and names the image that was there before.
 */
import { readFile } from 'node:fs/promises';

import { causeOf } from '../../../errors.ts';
import { replaceFile } from '../../durable-file.ts';

/** An installation that has begun, and of which no end is known. */
export interface Begun {
  /** A signed hash of the bundle. */
  readonly image: string;
  /** The slot that ran then, to go back to. */
  readonly from: string;
  /** Of every slot that boots, before; another stamp means another image. */
  readonly stamps: Readonly<Record<string, string>>;
}

/** An image that was installed to the end. */
export interface Installed extends Begun {
  /** Of its slot, after. */
  readonly stamp: string;
  readonly confirmed: boolean;
}

export interface SlotRecord {
  readonly slots: Readonly<Record<string, Installed>>;
  readonly begun?: Begun;
}

/**
 * @returns an empty record where there is no file: the images are the factory's
 * @throws Error if the file is not one of ours
 */
export async function readRecord(path: string): Promise<SlotRecord> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { slots: {} };
    throw error;
  }
  try {
    return parseRecord(JSON.parse(text));
  } catch (error) {
    throw new Error(
      `${path} is damaged (${causeOf(error)}): remove it, and the agent takes the images of both slots as unknown`,
      { cause: error },
    );
  }
}

/** Durable when it resolves. */
export function writeRecord(path: string, record: SlotRecord): Promise<void> {
  return replaceFile(path, `${JSON.stringify(record, undefined, 2)}\n`);
}

function parseRecord(value: unknown): SlotRecord {
  const { slots, begun } = fields(value);
  const entries = Object.entries(fields(slots)).map(([name, slot]) => {
    const { confirmed, stamp } = fields(slot);
    return [name, { ...parseBegun(slot), stamp: text(stamp), confirmed: confirmed === true }];
  });
  return {
    slots: Object.fromEntries(entries) as Record<string, Installed>,
    ...(begun === undefined ? {} : { begun: parseBegun(begun) }),
  };
}

function parseBegun(value: unknown): Begun {
  const { image, from, stamps } = fields(value);
  const entries = Object.entries(fields(stamps)).map(([name, stamp]) => [name, text(stamp)]);
  return {
    image: text(image),
    from: text(from),
    stamps: Object.fromEntries(entries) as Record<string, string>,
  };
}

function fields(value: unknown): Partial<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw new Error('want an object');
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error('want a text');
}
