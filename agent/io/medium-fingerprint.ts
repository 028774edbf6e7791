/** Whether another medium is there: asked all the time, by a process that has to stay small. */
import { join } from 'node:path';

import { opendir, stat } from './lean-node.ts';

export const DIRECTOR_FOLDER = 'director';
const OFFLINE_SNAPSHOT = 'offline-snapshot.json';
/** Roots of many years, lockboxes, and what other systems leave. */
export const MAX_NAMES = 4096;

/** @returns what changes whenever another medium is there; `undefined` when none is */
export async function fingerprintOf(source: string): Promise<string | undefined> {
  try {
    const folder = join(source, 'metadata', DIRECTOR_FOLDER);
    const { dev, ino, mtimeMs, size } = await stat(join(folder, OFFLINE_SNAPSHOT));
    const names = (await namesIn(folder))?.sort() ?? ['more than anybody reads'];
    return JSON.stringify([dev, ino, mtimeMs, size, ...names]);
  } catch {
    return undefined;
  }
}

/**
 * Whoever made a medium may have put millions of names into one directory, to have us hold them all.
 *
 * @returns `undefined` when there are more than MAX_NAMES
 */
export async function namesIn(directory: string): Promise<string[] | undefined> {
  const names: string[] = [];
  for await (const { name } of await opendir(directory)) {
    if (names.push(name) > MAX_NAMES) return undefined;
  }
  return names;
}
