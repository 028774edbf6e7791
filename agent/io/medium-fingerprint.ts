/** Whether another medium is there: asked all the time, by a process that has to stay small. */
import { join } from 'node:path';

import { readdir, stat } from './lean-node.ts';

export const DIRECTOR_FOLDER = 'director';
const OFFLINE_SNAPSHOT = 'offline-snapshot.json';

/** @returns what changes whenever another medium is there; `undefined` when none is */
export async function fingerprintOf(source: string): Promise<string | undefined> {
  try {
    const folder = join(source, 'metadata', DIRECTOR_FOLDER);
    const { dev, ino, mtimeMs, size } = await stat(join(folder, OFFLINE_SNAPSHOT));
    const names = (await readdir(folder)).sort();
    return JSON.stringify([dev, ino, mtimeMs, size, ...names]);
  } catch {
    return undefined;
  }
}
