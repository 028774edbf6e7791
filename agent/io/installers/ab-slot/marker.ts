/**
 * The active-slot marker: what the boot loader reads to choose a slot, and what it counts down.
 *
 * A text file of `name=value` lines, replaced whole. The boot loader's part is small: with
 * `state=trial` and `tries` above 0 it lowers `tries` by one and boots `active`; with `tries=0` it
 * writes `active` from `fallback` and `state=good` and boots that; with `state=good` it boots `active`.
 * Lines that it does not know stay as they are.
 */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { causeOf, type OtaError } from '../../../errors.ts';
import { replaceFile } from '../../durable-file.ts';
import {
  demandWritable,
  failed,
  isSlot,
  type BootChoice,
  type Chosen,
  type Slot,
} from './boot-choice.ts';
import {
  formatContents,
  NOTHING_KNOWN,
  parseContents,
  parseLines,
  type Contents,
  type SlotRecord,
} from './record.ts';

export interface BootMarker extends Chosen {
  /** Boots left before the fallback is chosen; of meaning in a trial only. */
  readonly tries: number;
  readonly contents: Contents;
}

/** The marker is ours, so that it also keeps what the slots hold: one file, one rename. */
export class Marker implements BootChoice, SlotRecord {
  readonly where: string;
  readonly #path: string;
  readonly #tries: number;

  constructor(path: string, tries: number) {
    this.where = path;
    this.#path = path;
    this.#tries = tries;
  }

  read(): Promise<BootMarker> {
    return readMarker(this.#path);
  }

  async demandUsable(): Promise<void> {
    await this.read();
    await demandWritable(dirname(this.#path));
  }

  async only(slot: Slot): Promise<void> {
    await this.#write({ active: slot, state: 'good', tries: 0 });
  }

  async attempt(slot: Slot, fallback: Slot): Promise<void> {
    const { contents } = await this.read();
    const trial = { active: slot, state: 'trial', tries: this.#tries } as const;
    await this.#write({ ...trial, contents: { ...contents, fallback } });
  }

  async load(): Promise<Contents> {
    return (await this.read()).contents;
  }

  async save(contents: Contents): Promise<void> {
    await this.#write({ contents });
  }

  async #write(changes: Partial<BootMarker>): Promise<void> {
    const before = formatMarker(await this.read());
    const after = formatMarker({ ...parseMarker(before, this.#path), ...changes });
    if (after !== before) await replaceFile(this.#path, after, 0o644);
  }
}

/**
 * Reads the marker; a missing file means slot a, good, as a factory leaves it.
 *
 * @throws OtaError INSTALL_FAILED if it is unreadable or not a marker
 */
async function readMarker(path: string): Promise<BootMarker> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return FACTORY;
    throw unreadable(path, causeOf(error), error);
  }
  return parseMarker(text, path);
}

export function formatMarker({ active, state, tries, contents }: BootMarker): string {
  const lines = [`active=${active}`, `state=${state}`, `tries=${String(tries)}`];
  return `${[...lines, ...formatContents(contents)].join('\n')}\n`;
}

const FACTORY: BootMarker = { active: 'a', state: 'good', tries: 0, contents: NOTHING_KNOWN };

/** @throws OtaError INSTALL_FAILED naming the line that is wrong */
export function parseMarker(text: string, path: string): BootMarker {
  const values = parseLines(text, `boot marker ${path}`);
  const active = values.get('active');
  const state = values.get('state');
  const tries = values.get('tries') ?? '';
  if (!isSlot(active)) throw unreadable(path, 'active must be a or b');
  if (state !== 'good' && state !== 'trial') throw unreadable(path, 'state must be good or trial');
  if (!/^\d{1,3}$/u.test(tries)) throw unreadable(path, 'tries must be a number');
  return { active, state, tries: Number(tries), contents: parseContents(values) };
}

function unreadable(path: string, problem: string, error?: unknown): OtaError<'INSTALL_FAILED'> {
  const remedy = 'write a good one or remove it to start from slot a';
  return failed(`boot marker ${path}: ${problem}; ${remedy}`, error);
}
