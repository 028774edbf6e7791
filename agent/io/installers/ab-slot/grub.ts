/**
 * The choice in GRUB's environment block, which `load_env` reads and `save_env` counts down in.
 *
 * Written by us and not by `grub-editenv`: that truncates the file before it writes it, and a power
 * cut between the two leaves an empty environment. What else is in the block stays there.
 *
 * Source: GRUB manual 2.06, "Environment block"; agent/INSTALLERS.md has the script for `grub.cfg`.
 */
import { readFile } from 'node:fs/promises';
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
    const values = await this.#load();
    const active = values.get('ota_active') ?? 'a';
    if (!isSlot(active))
      throw this.#unusable(`ota_active is ${JSON.stringify(active)}, not a or b`);
    return { active, state: values.get('ota_state') === 'trial' ? 'trial' : 'good' };
  }

  async demandUsable(): Promise<void> {
    await this.read();
    await demandWritable(dirname(this.#path));
  }

  async only(slot: Slot): Promise<void> {
    await this.#change({ ota_active: slot, ota_state: 'good', ota_tries: '0' });
  }

  async attempt(slot: Slot, fallback: Slot): Promise<void> {
    const trial = { ota_state: 'trial', ota_tries: String(this.#tries) };
    await this.#change({ ota_active: slot, ...trial, ota_fallback: fallback });
  }

  async #change(changes: Readonly<Record<string, string>>): Promise<void> {
    const before = await this.#load();
    if (Object.entries(changes).every(([name, value]) => before.get(name) === value)) return;
    const block = formatBlock(new Map([...before, ...Object.entries(changes)]));
    if (block === undefined) {
      throw this.#unusable(`its ${String(BLOCK_BYTES)} bytes are full: unset what nobody needs`);
    }
    await replaceFile(this.#path, block, 0o644);
  }

  async #load(): Promise<ReadonlyMap<string, string>> {
    const text = await readFile(this.#path, 'latin1').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return SIGNATURE;
      throw error;
    });
    const values = parseBlock(text);
    if (values === undefined) {
      throw this.#unusable('it is no environment block: run grub-editenv FILE create');
    }
    return values;
  }

  #unusable(problem: string): Error {
    return failed(`GRUB environment ${this.#path}: ${problem}`);
  }
}

/** GRUB reads and writes this many, whole. */
const BLOCK_BYTES = 1024;
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

/** @returns `undefined` if it does not fit */
export function formatBlock(values: ReadonlyMap<string, string>): string | undefined {
  const lines = Array.from(values, ([name, value]) => {
    return `${name}=${value.replace(/[\\\n]/gu, '\\$&')}\n`;
  });
  const text = `${SIGNATURE}${lines.join('')}`;
  return text.length > BLOCK_BYTES ? undefined : text.padEnd(BLOCK_BYTES, '#');
}
