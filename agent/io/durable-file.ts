/** Small files that are replaced whole: a reader, or the next boot, sees the old or the new one. */
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

import { syncDirectory } from './image-file.ts';

/** Replaces `path` atomically; durable when it resolves. The directory must exist. */
export async function replaceFile(path: string, text: string, mode = 0o600): Promise<void> {
  const temporary = `${path}.new`;
  const handle = await open(temporary, 'w', mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}
