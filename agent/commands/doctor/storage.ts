/** Where the agent remembers: the directory, its database, and room for images. */
import { randomUUID } from 'node:crypto';
import { rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { openStorage } from '../../assemble.ts';
import { causeOf, OtaError } from '../../errors.ts';
import { ok, warn, type Check, type Examination, type Finding } from './check.ts';

export const STORAGE_CHECKS: readonly Check[] = [
  { name: 'storage', needs: ['configuration'], code: 'STORAGE_FAILED', examine: examineDirectory },
  { name: 'space', needs: ['storage'], code: 'STORAGE_FAILED', examine: examineSpace },
  { name: 'database', needs: ['storage'], code: 'STORAGE_CORRUPT', examine: examineDatabase },
];

async function examineDirectory(examination: Examination): Promise<Finding> {
  const { path } = examination.get('loaded').settings.storage;
  const found = await stat(path).catch((cause: unknown) => {
    const remedy = 'run ota-agent provision as the agent’s user, or set storage.path';
    const missing = `storage ${path} (${causeOf(cause)})`;
    throw new OtaError('NOT_PROVISIONED', { missing, remedy }, { cause });
  });
  await demandWritable(path);
  const mode = found.mode & 0o777;
  const octal = mode.toString(8).padStart(4, '0');
  if ((mode & 0o077) !== 0) {
    return warn(`${path} has mode ${octal}: others can look into it`, `chmod 700 ${path}`);
  }
  return ok(`${path}, mode ${octal}, writable`);
}

async function demandWritable(path: string): Promise<void> {
  const file = join(path, `doctor-${randomUUID()}`);
  try {
    await writeFile(file, '', { flag: 'wx' });
    await rm(file);
  } catch (cause) {
    const remedy =
      'let the agent’s user own it: chown -R ota-agent; check that its disk is healthy';
    throw new OtaError('STORAGE_FAILED', { path, cause: causeOf(cause), remedy }, { cause });
  }
}

async function examineSpace(examination: Examination): Promise<Finding> {
  const { storage, download } = examination.get('loaded').settings;
  const { bavail, bsize } = await statfs(storage.path);
  const freeBytes = bavail * bsize;
  if (freeBytes < download.reserve) {
    const neededBytes = download.reserve;
    throw new OtaError('SPACE_INSUFFICIENT', { path: storage.path, neededBytes, freeBytes });
  }
  return ok(`${String(Math.floor(freeBytes / 2 ** 20))} MiB free in ${storage.path}`);
}

async function examineDatabase(examination: Examination): Promise<Finding> {
  const storage = await openStorage(examination.get('loaded').settings);
  await storage.check();
  examination.note('storage', storage);
  return ok('whole');
}
