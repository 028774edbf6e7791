/** What went wrong, each thing once: made small, saved, and told how to be seen again. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const MAX_TRIES = 2000;
const MAX_SHRINKING_MS = 20_000;

export interface Found {
  readonly error: unknown;
  readonly file: string;
  readonly replay: string;
}

/** @throws what the target throws */
export type RunOne = (input: Uint8Array) => readonly string[];

export class Failures {
  readonly #run: RunOne;
  readonly #name: string;
  readonly #directory: string;
  readonly #found = new Map<string, Found>();

  constructor(run: RunOne, name: string, directory: string) {
    this.#run = run;
    this.#name = name;
    this.#directory = directory;
  }

  get found(): readonly Found[] {
    return [...this.#found.values()];
  }

  /** @returns the outcome; nothing when the target failed */
  guard(input: Uint8Array): readonly string[] {
    try {
      return this.#run(input);
    } catch (error) {
      const kind = kindOf(error);
      if (!this.#found.has(kind))
        this.#found.set(kind, this.#save(error, shrink(this.#run, input, kind)));
      return [];
    }
  }

  #save(error: unknown, input: Uint8Array): Found {
    mkdirSync(this.#directory, { recursive: true });
    const hash = createHash('sha256').update(input).digest('hex').slice(0, 12);
    const file = join(this.#directory, `${this.#name}-${hash}`);
    writeFileSync(file, input);
    return { error, file, replay: `npm run fuzz -- --target ${this.#name} --replay ${file}` };
  }
}

/** Two failures are the same when they come from the same place, whatever numbers they tell. */
function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const [, place = ''] = (error.stack ?? '').split('\n    at ');
  const message = error.message.replaceAll(/\d+/gu, 'N').slice(0, 80);
  return `${error.name} ${message} ${place} ${cause instanceof Error ? kindOf(cause) : ''}`;
}

/** Cuts pieces out while the failure stays the same, large ones first. */
function shrink(run: RunOne, input: Uint8Array, kind: string): Uint8Array {
  const end = performance.now() + MAX_SHRINKING_MS;
  let smallest = input;
  let tries = 0;
  for (let size = input.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < smallest.length && tries < MAX_TRIES; tries += 1) {
      if (performance.now() > end) return smallest;
      const without = [smallest.subarray(0, at), smallest.subarray(at + size)];
      const shorter = Uint8Array.from(Buffer.concat(without));
      if (failsAlike(run, shorter, kind)) smallest = shorter;
      else at += size;
    }
  }
  return smallest;
}

function failsAlike(run: RunOne, input: Uint8Array, kind: string): boolean {
  try {
    run(input);
    return false;
  } catch (error) {
    return kindOf(error) === kind;
  }
}
