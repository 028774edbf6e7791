/** Files that survive `kill -9` and a power cut: the old content or the new one, never a mixture. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

import { DirectorFailure, reasonOf } from '../failure.ts';

/**
 * Replaces a file: write beside it, sync, rename, sync the directory.
 *
 * Synchronous on purpose: no other request can run between reading a state and writing the next one.
 */
export function writeDurably(path: string, content: string | Uint8Array, mode = 0o600): void {
  const beside = `${path}.tmp`;
  const file = openSync(beside, 'w', mode);
  try {
    const bytes = Buffer.from(content);
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
  syncDirectory(dirname(path));
}

export function writeState(path: string, state: unknown, mode = 0o600): void {
  writeDurably(path, `${JSON.stringify(state, undefined, 1)}\n`, mode);
}

/**
 * Reads back what `writeState` wrote; the shape is the caller's own.
 *
 * @returns `undefined` when there is no such file
 * @throws DirectorFailure when it is there and is not JSON
 */
export function readState(path: string): unknown {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new DirectorFailure(
      `a state file is damaged: ${reasonOf(cause)}`,
      {
        where: path,
        remedy: 'restore it from a copy, or remove the state directory to start anew',
      },
      { cause },
    );
  }
}

/** Who may write a state: one process does, others read what it wrote. */
export type Access = 'write' | 'read';

/** Files that another process replaces. */
export class WatchedFiles {
  readonly #paths: readonly string[];
  #seen = '';

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** Whether any of them is another file than at the last call. */
  haveChanged(): boolean {
    const stamps = this.#paths.map((path) => {
      const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? '' : `${String(stat.ino)} ${String(stat.mtimeNs)}`;
    });
    const seen = stamps.join();
    const isOther = seen !== this.#seen;
    this.#seen = seen;
    return isOther;
  }
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export function makeDirectory(path: string, mode = 0o700): void {
  mkdirSync(path, { recursive: true, mode });
}

export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
