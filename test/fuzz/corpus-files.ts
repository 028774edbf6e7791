/** The corpus on disk: one file for each input, named by its hash. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HASH_CHARACTERS = 16;

/** Kept with the sources: small, and run by every test run. */
export const KEPT_CORPUS = fileURLToPath(new URL('corpus/', import.meta.url));

/** In the order of their names, so that a run depends on its seed alone. */
export function readCorpus(directory: string, name: string): readonly Uint8Array[] {
  const folder = join(directory, name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((file) => Uint8Array.from(readFileSync(join(folder, file))));
}

export function addToCorpus(directory: string, name: string, input: Uint8Array): void {
  const folder = join(directory, name);
  mkdirSync(folder, { recursive: true });
  const hash = createHash('sha256').update(input).digest('hex').slice(0, HASH_CHARACTERS);
  writeFileSync(join(folder, hash), input);
}
