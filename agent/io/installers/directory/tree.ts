/** A tree of files on disk, and the digest of all that it is. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

import { syncDirectory } from '../../image-file.ts';

export interface TreeEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** Permission bits; of symlinks always 0777. */
  readonly mode: number;
  readonly sizeBytes: number;
  /** Of the content, hex; empty for what is no file. */
  readonly sha256: string;
  /** Where a symlink points to. */
  readonly link: string;
}

/** One digest over every path, type, mode, content and link; not over times and owners. */
export function treeDigest(entries: readonly TreeEntry[]): string {
  const sorted = entries.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const hash = createHash('sha256');
  for (const { path, type, mode, sizeBytes, sha256, link } of sorted) {
    hash.update(`${JSON.stringify([path, type, mode, sizeBytes, sha256, link])}\n`);
  }
  return `sha256:${hash.digest('hex')}`;
}

/**
 * Everything below `root`, read back.
 *
 * @throws Error for what no archive can have made, such as a device
 */
export async function readTree(root: string): Promise<readonly TreeEntry[]> {
  const entries: TreeEntry[] = [];
  for (const path of await pathsBelow(root)) entries.push(await readEntry(root, path));
  return entries;
}

/** Every file and directory below `root`, and `root` itself, to the disk. */
export async function syncTree(root: string): Promise<void> {
  for (const path of await pathsBelow(root)) {
    const at = join(root, path);
    const found = await lstat(at);
    if (found.isSymbolicLink()) continue;
    const handle = await open(at, 'r');
    await handle.sync().finally(() => handle.close());
  }
  await syncDirectory(root);
}

async function pathsBelow(root: string): Promise<readonly string[]> {
  const paths: string[] = [];
  const waiting = [''];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const entry of await readdir(join(root, path), { withFileTypes: true })) {
      const below = join(path, entry.name);
      paths.push(below);
      if (entry.isDirectory()) waiting.push(below);
    }
  }
  return paths;
}

async function readEntry(root: string, path: string): Promise<TreeEntry> {
  const at = join(root, path);
  const found = await lstat(at);
  const mode = found.mode & 0o7777;
  const entry = { path, mode, sizeBytes: 0, sha256: '', link: '' };
  if (found.isSymbolicLink()) {
    return { ...entry, type: 'symlink', mode: 0o777, link: await readlink(at) };
  }
  if (found.isDirectory()) return { ...entry, type: 'directory' };
  if (!found.isFile()) throw new Error(`${at} is neither file nor directory nor link`);
  return { ...entry, type: 'file', sizeBytes: found.size, sha256: await digestOf(at) };
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) {
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}
