/** The documents of this checkout. */
import { globSync } from 'node:fs';
import { resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

/** Paths from the root. */
export const DOCUMENTS: readonly string[] = [
  ...globSync('*.md', { cwd: ROOT }),
  ...globSync('{agent,config,provisioning,systemd,test}/**/*.md', {
    cwd: ROOT,
    exclude: (name) => ['node_modules', '.cache', 'build'].includes(name),
  }),
].toSorted();
