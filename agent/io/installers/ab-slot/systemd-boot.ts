/**
 * The choice in the names of boot entries, which systemd-boot sorts and counts down by renaming.
 *
 * A slot's entry is `ota-NUMBER-SLOT.conf`: the higher number is first in the list. A trial has its
 * tries in the name, `ota-NUMBER-SLOT+LEFT-DONE.conf`; with none left it goes to the end of the list.
 * An entry that must not boot is called `….conf.off`, which the boot loader does not read. So every
 * step is one rename, and the content of an entry is the integrator's.
 *
 * Source: systemd.io, "Automatic Boot Assessment"; UAPI Boot Loader Specification, "Sorting".
 */
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';

import { syncDirectory } from '../../image-file.ts';
import {
  demandWritable,
  failed,
  isSlot,
  SLOTS,
  type BootChoice,
  type Chosen,
  type Slot,
} from './boot-choice.ts';

interface Entry {
  readonly name: string;
  readonly slot: Slot;
  readonly number: number;
  /** `undefined`: it is not counted. */
  readonly left: number | undefined;
  readonly isOff: boolean;
}

type Entries = Readonly<Record<Slot, Entry>>;

export class SystemdBoot implements BootChoice {
  readonly where: string;
  readonly #directory: string;
  readonly #tries: number;

  /** @param directory - `loader/entries` of the ESP or the XBOOTLDR partition */
  constructor(directory: string, tries: number) {
    this.where = directory;
    this.#directory = directory;
    this.#tries = tries;
  }

  async read(): Promise<Chosen> {
    const entries = await this.#entries();
    const [first] = SLOTS.map((slot) => entries[slot])
      .filter(({ isOff }) => !isOff)
      .sort((x, y) => Number(x.left === 0) - Number(y.left === 0) || y.number - x.number);
    if (first === undefined) throw failed(`${this.#directory}: no slot has an entry that is on`);
    return { active: first.slot, state: first.left === undefined ? 'good' : 'trial' };
  }

  async demandUsable(): Promise<void> {
    await this.read();
    await demandWritable(this.#directory);
  }

  async only(slot: Slot): Promise<void> {
    const entries = await this.#entries();
    const other = slot === 'a' ? entries.b : entries.a;
    const own = entries[slot];
    // The one that boots first: between the two renames it is ahead of the other, and not counted.
    const isFirst = own.number > other.number || other.isOff || other.left === 0;
    if (own.isOff || own.left !== undefined || !isFirst) {
      const number = isFirst ? own.number : other.number + 1;
      await this.#rename(own, `ota-${String(number)}-${slot}.conf`);
    }
    if (!other.isOff) {
      await this.#rename(other, `ota-${String(other.number)}-${other.slot}.conf.off`);
    }
  }

  async attempt(slot: Slot, fallback: Slot): Promise<void> {
    const entries = await this.#entries();
    const { number, left, isOff } = entries[fallback];
    if (isOff || left !== undefined) {
      await this.#rename(entries[fallback], `ota-${String(number)}-${fallback}.conf`);
    }
    const first = String(Math.max(number, entries[slot].number) + 1);
    await this.#rename(entries[slot], `ota-${first}-${slot}+${String(this.#tries)}.conf`);
  }

  async #rename({ name }: Entry, to: string): Promise<void> {
    await rename(join(this.#directory, name), join(this.#directory, to));
    await syncDirectory(this.#directory);
  }

  async #entries(): Promise<Entries> {
    const found = (await readdir(this.#directory)).flatMap((name) => parseEntry(name) ?? []);
    const one = (slot: Slot): Entry => {
      const [entry, second] = found.filter((candidate) => candidate.slot === slot);
      const want = `want one of ota-NUMBER-${slot}.conf in ${this.#directory}`;
      if (entry === undefined) throw failed(`there is no boot entry of slot ${slot}: ${want}`);
      if (second === undefined) return entry;
      throw failed(`slot ${slot} has two boot entries, ${entry.name} and ${second.name}: ${want}`);
    };
    const entries = { a: one('a'), b: one('b') };
    await this.#demandOurOrder(entries);
    return entries;
  }

  /** What else decides the order would make our numbers mean nothing. */
  async #demandOurOrder({ a, b }: Entries): Promise<void> {
    for (const { name } of [a, b]) {
      const path = join(this.#directory, name);
      if (!/^\s*sort-key\s/mu.test(await readFile(path, 'utf8'))) continue;
      throw failed(`${path} has a sort-key, which decides before its name: remove that line`);
    }
    const path = join(this.#directory, '..', 'loader.conf');
    const loader = await readFile(path, 'utf8').catch(() => '');
    const chosen = /^\s*default\s+(\S+)/mu.exec(loader)?.[1] ?? GLOB;
    if (chosen !== GLOB) throw failed(`${path} says default ${chosen}: make that default ${GLOB}`);
  }
}

const GLOB = 'ota-*';
const NAME = /^ota-(\d{1,9})-([ab])(?:\+(\d{1,3})(?:-\d{1,3})?)?\.conf(\.off)?$/u;

function parseEntry(name: string): Entry | undefined {
  const [, number, slot, left, off] = NAME.exec(name) ?? [];
  if (!isSlot(slot)) return undefined;
  return {
    name,
    slot,
    number: Number(number),
    left: left === undefined ? undefined : Number(left),
    isOff: off !== undefined,
  };
}
