/**
 * PINs that a token has refused: none is tried again by itself, not by a restarted process either.
 *
 * A service manager that restarts a service is patient, and a token counts to three. What is kept is a
 * hash made slow on purpose, with a salt of its own: a wrong PIN may be the right one of another device.
 */
import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

import { causeOf, OtaError } from '../../errors.ts';
import type { Pin, PinKind } from './pin.ts';

/** As far as the flags of a token tell (PKCS#11 v2.40 §3.2). */
export type TriesLeft =
  'none' | '1' | 'at least 1, fewer than the full number' | 'the token does not say';

/** Whose PIN, of which token. */
export interface PinOwner {
  readonly kind: PinKind;
  readonly label: string;
  readonly serial: string;
}

interface Refusal extends PinOwner {
  readonly salt: string;
  readonly hash: string;
  /** What the token said after it. */
  readonly triesLeft: TriesLeft;
}

const FILE = 'refused-pins.json';
const HASH_BYTES = 32;
const MAX_REFUSALS = 16;
/** JSON may end in blanks: a file that is to be written over with more must have the room already. */
const ROOM_BYTES = 1024;

/** `undefined`: this process alone remembers. */
let directory: string | undefined;
let remembered: readonly Refusal[] = [];

/** From now on, and from earlier processes, in this directory; as long as it exists. */
export function keepRefusedPins(path: string): void {
  directory = path;
}

/** Where it is kept, for a person who knows better. */
export function refusedPinsFile(): string | undefined {
  return directory === undefined || !existsSync(directory) ? undefined : join(directory, FILE);
}

/** @returns what the token said when it refused this very PIN; `undefined` if it has not */
export function refusalOf(owner: PinOwner, pin: Pin): TriesLeft | undefined {
  const known = load().filter((one) => isOf(one, owner));
  return known.find(({ salt, hash }) => isSame(hashOf(pin, salt), hash))?.triesLeft;
}

/** The PIN was right, or was replaced: what was refused before says nothing any more. */
export function forgetRefusals(owner: PinOwner): void {
  const known = load();
  const kept = known.filter((one) => !isOf(one, owner));
  if (kept.length < known.length) new Writing(kept).commit(kept);
}

/** A refusal that is about to happen: there is room for it, or the PIN must not be tried. */
export interface PossibleRefusal {
  /** It happened; on disk when this returns. */
  happened(pin: Pin, triesLeft: TriesLeft): void;
  /** It did not. */
  spared(): void;
}

/** @throws OtaError STORAGE_FAILED if a refusal could not be remembered */
export function expectRefusal(owner: PinOwner): PossibleRefusal {
  const writing = new Writing(load());
  return {
    happened: (pin, triesLeft) => {
      const salt = randomBytes(16).toString('hex');
      const hash = hashOf(pin, salt).toString('hex');
      writing.commit([...load(), { ...owner, salt, hash, triesLeft }].slice(-MAX_REFUSALS));
    },
    spared: () => {
      writing.abandon();
    },
  };
}

/** One replacement of the file, begun before it is known what will be in it. */
class Writing {
  readonly #path: string | undefined;
  readonly #temporary: string;
  readonly #file: number | undefined;

  constructor(known: readonly Refusal[]) {
    this.#path = refusedPinsFile();
    this.#temporary = `${this.#path ?? ''}.new`;
    if (this.#path === undefined) return;
    const room = ' '.repeat(JSON.stringify(known).length + ROOM_BYTES);
    this.#file = onDisk(this.#path, () => {
      const file = openSync(this.#temporary, 'w', 0o600);
      writeSync(file, room, 0);
      return file;
    });
  }

  commit(refusals: readonly Refusal[]): void {
    remembered = refusals;
    const [file, path] = [this.#file, this.#path];
    if (file === undefined || path === undefined) return;
    onDisk(path, () => {
      writeSync(file, JSON.stringify(refusals), 0);
      fsyncSync(file);
      closeSync(file);
      renameSync(this.#temporary, path);
      const folder = openSync(dirname(path), 'r');
      fsyncSync(folder);
      closeSync(folder);
    });
  }

  abandon(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    rmSync(this.#temporary, { force: true });
  }
}

function load(): readonly Refusal[] {
  const path = refusedPinsFile();
  if (path === undefined || !existsSync(path)) return path === undefined ? remembered : [];
  const text = onDisk(path, () => readFileSync(path, 'utf8'));
  try {
    const refusals: unknown = JSON.parse(text);
    return Array.isArray(refusals) ? refusals.filter(isRefusal) : [];
  } catch {
    // It is replaced whole, so this is nobody's memory: a person's hand, or the end of a disk.
    return [];
  }
}

function isRefusal(value: unknown): value is Refusal {
  if (typeof value !== 'object' || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  return ['kind', 'label', 'serial', 'salt', 'hash', 'triesLeft'].every(
    (name) => typeof fields.get(name) === 'string',
  );
}

function isOf(one: PinOwner, { kind, label, serial }: PinOwner): boolean {
  return one.kind === kind && one.label === label && one.serial === serial;
}

function hashOf(pin: Pin, salt: string): Buffer {
  return scryptSync(pin.reveal(), Buffer.from(salt, 'hex'), HASH_BYTES);
}

function isSame(hash: Buffer, hex: string): boolean {
  const known = Buffer.from(hex, 'hex');
  return known.length === hash.length && timingSafeEqual(known, hash);
}

function onDisk<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    const remedy =
      'make room, and give the file to the agent’s user: without it a wrong PIN would be tried again ' +
      'and again, until the token is locked';
    throw new OtaError('STORAGE_FAILED', { path, cause: causeOf(cause), remedy }, { cause });
  }
}
