/** Variables that the boot loader reads to choose what to boot. */
import { rm, writeFile } from 'node:fs/promises';

import { runTool, type ToolResult } from '../../run-tool.ts';
import type { Slot } from './slot-record.ts';

/** Names and values; one that is empty is one that is not set. */
export type Variables = ReadonlyMap<string, string>;

/** What the boot script of a board wants set, all of it in one write. */
export interface SlotVariables {
  /** To boot the slot on trial. */
  readonly attempt: Variables;
  /** To boot it and no other. */
  readonly keep: Variables;
}

const TIMEOUT_MS = 30_000;

/**
 * The environment of U-Boot, through its own tools: they know sums, copies and flash.
 *
 * With two copies a power cut leaves the old values; with one it can leave none.
 */
export class BootVariables {
  /** What it is and where, for people. */
  readonly where: string;
  readonly #configPath: string;
  readonly #scriptPath: string;
  readonly #slots: Readonly<Record<Slot, SlotVariables>>;

  /** @param scriptPath - where changes lie while `fw_setenv` reads them */
  constructor(
    configPath: string,
    scriptPath: string,
    slots: Readonly<Record<Slot, SlotVariables>>,
  ) {
    this.where = `U-Boot, ${configPath}`;
    this.#configPath = configPath;
    this.#scriptPath = scriptPath;
    this.#slots = slots;
  }

  /**
   * The variables that choose a slot, as they are; those that are not set are empty.
   *
   * @throws Error if they cannot be read
   */
  async read(): Promise<Variables> {
    const { stdout } = await this.#run('fw_printenv', []);
    const all = new Map<string, string>();
    for (const line of stdout.split('\n')) {
      const at = line.indexOf('=');
      if (at > 0) all.set(line.slice(0, at), line.slice(at + 1));
    }
    return new Map([...this.#slots.a.keep.keys()].map((name) => [name, all.get(name) ?? '']));
  }

  /** From now on `slot` boots and the other does not. Nothing is written where that is so already. */
  async only(slot: Slot): Promise<void> {
    const { keep } = this.#slots[slot];
    if (!same(await this.read(), keep)) await this.write(keep);
  }

  /** `slot` boots, for as long as the boot script tries what nobody keeps. */
  async attempt(slot: Slot): Promise<void> {
    await this.write(this.#slots[slot].attempt);
  }

  /**
   * Sets all of `changes` at once; durable when it resolves.
   *
   * @throws Error if they cannot be written
   */
  async write(changes: Variables): Promise<void> {
    const lines = [...changes].map(([name, value]) => `${name}=${value}\n`);
    await writeFile(this.#scriptPath, lines.join(''), { mode: 0o600 });
    try {
      await this.#run('fw_setenv', ['-s', this.#scriptPath]);
    } finally {
      await rm(this.#scriptPath, { force: true });
    }
    await this.#verify(changes);
  }

  /** Two programs are called fw_setenv, and one of them reads other scripts. */
  async #verify(changes: Variables): Promise<void> {
    const now = await this.read();
    if (same(now, changes)) return;
    throw new Error(
      `fw_setenv was to set ${shown(changes)} but left ${shown(now)}: use that of libubootenv`,
    );
  }

  async #run(program: string, args: readonly string[]): Promise<ToolResult> {
    const all = ['-c', this.#configPath, ...args];
    const result = await runTool(program, all, { timeoutMs: TIMEOUT_MS });
    if (result.code === 0) return result;
    const said = result.stderr.trim().replaceAll('\n', '; ');
    const remedy = `check ${this.#configPath} and that U-Boot has saved its environment once`;
    throw new Error(`${program} ended with ${String(result.code)}: ${said}; ${remedy}`);
  }
}

/** Of two sets with the same names. */
export function same(one: Variables, other: Variables): boolean {
  return [...one].every(([name, value]) => other.get(name) === value);
}

export function shown(variables: Variables): string {
  return [...variables].map(([name, value]) => `${name}=${value}`).join(' ');
}
