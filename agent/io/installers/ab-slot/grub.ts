/**
 * The choice in GRUB's environment block, which `load_env` reads and `save_env` counts down in.
 *
 * Written where it is, one sector, as GRUB itself does. Not as a new file that takes its name: GRUB does
 * not replay the journal of ext4, so that after a power cut it would read an older choice, or blocks
 * that have become another file's. And not by `grub-editenv`, which truncates the file first. What else
 * is in the block stays there.
 *
 * Source: GRUB manual 2.06, "Environment block"; GRUB 2.06, fs/ext2.c, "journal";
 *   agent/INSTALLERS.md has the script for `grub.cfg`.
 */
import { open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { replaceFile } from '../../durable-file.ts';
import {
  demandWritable,
  failed,
  isSlot,
  type BootChoice,
  type Chosen,
  type Slot,
} from './boot-choice.ts';

export class GrubEnvironment implements BootChoice {
  readonly where: string;
  readonly #path: string;
  readonly #tries: number;

  constructor(path: string, tries: number) {
    this.where = path;
    this.#path = path;
    this.#tries = tries;
  }

  async read(): Promise<Chosen> {
    const { values } = await this.#load();
    const active = values.get('ota_active') ?? 'a';
    if (!isSlot(active))
      throw this.#unusable(`ota_active is ${JSON.stringify(active)}, not a or b`);
    return { active, state: values.get('ota_state') === 'trial' ? 'trial' : 'good' };
  }

  async demandUsable(): Promise<void> {
    await this.read();
    const before = await this.#load();
    this.#demandFits(new Map([...before.values, ...Object.entries(this.#trial('a', 'b'))]));
    await demandWritable(before.text === undefined ? dirname(this.#path) : this.#path);
  }

  async only(slot: Slot): Promise<void> {
    await this.#change({ ota_active: slot, ota_state: 'good', ota_tries: '0' });
  }

  async attempt(slot: Slot, fallback: Slot): Promise<void> {
    await this.#change(this.#trial(slot, fallback));
  }

  #trial(slot: Slot, fallback: Slot): Readonly<Record<string, string>> {
    const trial = { ota_state: 'trial', ota_tries: String(this.#tries) };
    return { ota_active: slot, ...trial, ota_fallback: fallback };
  }

  async #change(changes: Readonly<Record<string, string>>): Promise<void> {
    const before = await this.#load();
    const isSo = ([name, value]: [string, string]): boolean => before.values.get(name) === value;
    if (Object.entries(changes).every(isSo)) return;
    const after = new Map([...before.values, ...Object.entries(changes)]);
    const block = this.#demandFits(after);
    const isOneSector = before.text?.slice(SECTOR_BYTES) === block.slice(SECTOR_BYTES);
    if (isOneSector) await overwrite(this.#path, block.slice(0, SECTOR_BYTES));
    // As `grub-editenv create` does not leave it: there is nothing yet, or more than is understood.
    else await replaceFile(this.#path, block, 0o644);
  }

  #demandFits(values: ReadonlyMap<string, string>): string {
    const block = formatBlock(values);
    if (block !== undefined) return block;
    const room = `its first ${String(SECTOR_BYTES)} bytes, which a disk writes whole,`;
    throw this.#unusable(`${room} are full: unset what nobody needs`);
  }

  async #load(): Promise<Loaded> {
    const text = await readFile(this.#path, 'latin1').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    });
    const values = parseBlock(text ?? SIGNATURE);
    if (values === undefined) {
      throw this.#unusable('it is no environment block: run grub-editenv FILE create');
    }
    return { text, values };
  }

  #unusable(problem: string): Error {
    return failed(`GRUB environment ${this.#path}: ${problem}`);
  }
}

interface Loaded {
  /** `undefined`: there is no file. */
  readonly text: string | undefined;
  readonly values: ReadonlyMap<string, string>;
}

/** Durable when it resolves; the file keeps its blocks. */
async function overwrite(path: string, text: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.write(text, 0, 'latin1');
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** GRUB reads and writes this many. */
const BLOCK_BYTES = 1024;
/** What a disk writes whole, whatever happens meanwhile. */
const SECTOR_BYTES = 512;
const SIGNATURE = '# GRUB Environment Block\n';

/** @returns `undefined` if it is not one */
export function parseBlock(text: string): ReadonlyMap<string, string> | undefined {
  if (!text.startsWith(SIGNATURE)) return undefined;
  const values = new Map<string, string>();
  // A value ends at a newline that no backslash precedes.
  for (const [line] of text.slice(SIGNATURE.length).matchAll(/(?:\\[^]|[^\n\\])+/gu)) {
    const at = line.indexOf('=');
    if (line.startsWith('#') || at < 1) continue;
    values.set(line.slice(0, at), line.slice(at + 1).replace(/\\([^])/gu, '$1'));
  }
  return values;
}

/** @returns `undefined` if it does not fit into a sector */
export function formatBlock(values: ReadonlyMap<string, string>): string | undefined {
  const lines = Array.from(values, ([name, value]) => {
    return `${name}=${value.replace(/[\\\n]/gu, '\\$&')}\n`;
  });
  const text = `${SIGNATURE}${lines.join('')}`;
  return text.length > SECTOR_BYTES ? undefined : text.padEnd(BLOCK_BYTES, '#');
}
