/**
 * What each slot holds, as far as it was proven; durable, because no boot loader keeps it for us.
 *
 * It decides which image is said to run and what there is to go back to, never what may boot: for that
 * a slot is read back by the process that chooses it.
 */
import { readFile } from 'node:fs/promises';

import { replaceFile } from '../../durable-file.ts';
import { failed, isSlot, SLOTS, type Slot } from './boot-choice.ts';

export interface SlotRecord {
  load(): Promise<Contents>;
  /** Replaces it whole. */
  save(contents: Contents): Promise<void>;
}

export interface Contents {
  /** Digest of the image that was proven there, `sha256:HEX` as downloaded; absent while unknown. */
  readonly images: Readonly<Record<Slot, string | undefined>>;
  /** The slot that may be gone back to; absent while the other one holds nothing that ran. */
  readonly fallback: Slot | undefined;
  /** The beginning of an image that is on the disk already. */
  readonly received: Received | undefined;
}

interface Received {
  readonly slot: Slot;
  /** As in `images`. */
  readonly image: string;
  readonly lengthBytes: number;
  /** Of the first `lengthBytes` bytes: they are hashed again before any of them is relied on. */
  readonly digest: string;
}

export const NOTHING_KNOWN: Contents = {
  images: { a: undefined, b: undefined },
  fallback: undefined,
  received: undefined,
};

/** Beside the agent's state, for boot loaders whose environment is not ours. */
export class RecordFile implements SlotRecord {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<Contents> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
        return NOTHING_KNOWN;
      throw error;
    }
    return parseContents(parseLines(text, this.#path));
  }

  async save(contents: Contents): Promise<void> {
    await replaceFile(this.#path, `${formatContents(contents).join('\n')}\n`);
  }
}

/** `name=value` lines; empty ones and comments are left out. */
export function parseLines(text: string, path: string): ReadonlyMap<string, string> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.indexOf('=');
      if (at < 1)
        throw failed(`${path}: not a name=value line: ${JSON.stringify(line)}; remove it`);
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

export function formatContents({ images, fallback, received }: Contents): readonly string[] {
  const lines = fallback === undefined ? [] : [`fallback=${fallback}`];
  for (const slot of SLOTS) {
    const image = images[slot];
    if (image !== undefined) lines.push(`image_${slot}=${image}`);
  }
  if (received !== undefined) {
    const { slot, image, lengthBytes, digest } = received;
    lines.push(`received=${[slot, image, String(lengthBytes), digest].join(' ')}`);
  }
  return lines;
}

/** What cannot be understood is not known: then an image is received again. */
export function parseContents(values: ReadonlyMap<string, string>): Contents {
  const fallback = values.get('fallback');
  return {
    images: { a: values.get('image_a'), b: values.get('image_b') },
    fallback: isSlot(fallback) ? fallback : undefined,
    received: parseReceived(values.get('received')),
  };
}

function parseReceived(text: string | undefined): Received | undefined {
  const [slot, image, length = '', digest] = (text ?? '').split(' ');
  if (!isSlot(slot) || image === undefined || digest === undefined) return undefined;
  return /^\d{1,15}$/u.test(length)
    ? { slot, image, lengthBytes: Number(length), digest }
    : undefined;
}
