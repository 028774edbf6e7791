/** Which configuration files there are, in the order in which they are applied. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { causeOf, OtaError } from './errors.ts';

export interface Fragment {
  readonly file: string;
  readonly text: string;
}

/** Vendor, administrator, and whoever set this boot up: as systemd orders its directories. */
export const SYSTEM_DIRECTORIES: readonly string[] = [
  '/usr/lib/ota-agent/conf.d',
  '/etc/ota-agent/conf.d',
  '/run/ota-agent/conf.d',
];

/**
 * Reads every fragment, first applied first.
 *
 * In a directory names decide the order. A file replaces the one of the same name in an earlier
 * directory, so an administrator can silence a vendor's fragment with an empty file.
 *
 * @param roots - directories that may be absent
 * @param named - files or directories given on the command line, which must be there
 * @throws OtaError FILE_UNREADABLE
 */
export async function readFragments(
  roots: readonly string[],
  named: readonly string[],
): Promise<readonly Fragment[]> {
  const directories = await Promise.all(roots.map(listFragments));
  const given = await Promise.all(named.map(listNamed));
  const sources = [...directories.map((files) => files ?? []), ...given];
  const files = sources.flatMap((source, position) => {
    const later = sources.slice(position + 1).flat();
    return source.filter((file) => !later.some((other) => isReplacedBy(file, other)));
  });
  return Promise.all(files.map(async ({ path }) => ({ file: path, text: await readText(path) })));
}

interface Listed {
  readonly path: string;
  /** A file named one by one adds to the others, whatever it is called. */
  readonly listedIn: 'directory' | 'command line';
}

function isReplacedBy(file: Listed, later: Listed): boolean {
  return (
    file.listedIn === 'directory' &&
    later.listedIn === 'directory' &&
    basename(file.path) === basename(later.path)
  );
}

async function listNamed(path: string): Promise<readonly Listed[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [{ path, listedIn: 'command line' }];
  } catch (cause) {
    throw unreadable(path, 'configuration named by --config', cause);
  }
  return (await listFragments(path)) ?? [];
}

/** @returns `undefined` when there is no such directory */
async function listFragments(directory: string): Promise<readonly Listed[] | undefined> {
  try {
    const names = await readdir(directory);
    return names
      .filter((name) => name.endsWith('.toml') && !name.startsWith('.'))
      .sort((a, b) => (a < b ? -1 : 1))
      .map((name) => ({ path: join(directory, name), listedIn: 'directory' }));
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw unreadable(directory, 'configuration directory', cause);
  }
}

async function readText(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw unreadable(path, 'configuration file', cause);
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function unreadable(path: string, what: string, cause: unknown): OtaError<'FILE_UNREADABLE'> {
  const remedy = isAbsent(cause)
    ? 'create it, or correct the path'
    : 'make it a UTF-8 text file that this user can read';
  return new OtaError('FILE_UNREADABLE', { path, what, cause: causeOf(cause), remedy }, { cause });
}
