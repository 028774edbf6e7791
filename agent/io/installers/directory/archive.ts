/** A staged archive: looked at as a whole before anything is written, then unpacked. */
import { createHash } from 'node:crypto';
import { createReadStream, type ReadStream } from 'node:fs';
import { chmod, link, mkdir, open, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';

import { writeAt } from '../../image-file.ts';
import {
  ArchivePolicy,
  IMPLIED_MODE,
  type Admitted,
  type ArchiveLimits,
} from './archive-policy.ts';
import { ArchiveRefused, tarEntries, type TarEntry } from './tar-entries.ts';
import type { TreeEntry } from './tree.ts';

export type ArchiveFormat = 'tar' | 'tar.gz' | 'tar.zst';

export interface Archive {
  readonly path: string;
  readonly format: ArchiveFormat;
  readonly limits: ArchiveLimits;
}

const SUFFIXES: readonly (readonly [string, ArchiveFormat])[] = [
  ['.tar', 'tar'],
  ['.tar.gz', 'tar.gz'],
  ['.tgz', 'tar.gz'],
  ['.tar.zst', 'tar.zst'],
  ['.tzst', 'tar.zst'],
];

/** By the name that both repositories signed, never by the first bytes. */
export function formatOf(filename: string): ArchiveFormat | undefined {
  return SUFFIXES.find(([suffix]) => filename.endsWith(suffix))?.[1];
}

/**
 * What unpacking makes, with the digest of every file.
 *
 * @throws ArchiveRefused for the first entry that must not be unpacked
 */
export async function inspectArchive(archive: Archive): Promise<readonly TreeEntry[]> {
  const policy = new ArchivePolicy(archive.limits);
  const made = new Map<string, TreeEntry>();
  for await (const entry of entriesOf(archive)) {
    const admitted = policy.admit(entry);
    if (admitted === undefined) continue;
    made.set(admitted.path, await foreseen(admitted, entry, made));
  }
  const empty = { type: 'directory', sizeBytes: 0, sha256: '', link: '' } as const;
  const implied = policy.implied().map((path) => ({ ...empty, path, mode: IMPLIED_MODE }));
  return [...made.values(), ...implied];
}

/**
 * Makes what `inspectArchive` has foreseen, below `root`, which is empty.
 *
 * @param progress - bytes of the content of files
 */
export async function unpackArchive(
  archive: Archive,
  root: string,
  progress: (doneBytes: number) => void,
): Promise<void> {
  const policy = new ArchivePolicy(archive.limits);
  let doneBytes = 0;
  for await (const entry of entriesOf(archive)) {
    const admitted = policy.admit(entry);
    if (admitted === undefined) continue;
    const directory = join(root, dirname(admitted.path));
    // Every directory above it is one that was made here: the policy has seen to it.
    await mkdir(directory, { recursive: true, mode: IMPLIED_MODE });
    await make(admitted, root, entry);
    doneBytes += admitted.sizeBytes;
    progress(doneBytes);
  }
  for (const path of policy.implied()) await chmod(join(root, path), IMPLIED_MODE);
}

async function foreseen(
  admitted: Admitted,
  entry: TarEntry,
  made: ReadonlyMap<string, TreeEntry>,
): Promise<TreeEntry> {
  const { path, mode, sizeBytes, link: linked, type } = admitted;
  const original = made.get(linked);
  if (type === 'hardlink' && original !== undefined) return { ...original, path };
  if (type !== 'file') {
    const kind = type === 'symlink' ? 'symlink' : 'directory';
    return { path, type: kind, mode, sizeBytes: 0, sha256: '', link: linked };
  }
  const hash = createHash('sha256');
  for await (const piece of entry.content) hash.update(piece);
  return { path, type, mode, sizeBytes, sha256: hash.digest('hex'), link: '' };
}

async function make(admitted: Admitted, root: string, entry: TarEntry): Promise<void> {
  const at = join(root, admitted.path);
  switch (admitted.type) {
    case 'symlink':
      return symlink(admitted.link, at);
    case 'hardlink':
      return link(join(root, admitted.link), at);
    case 'directory':
      await mkdir(at, { recursive: true });
      return chmod(at, admitted.mode);
    case 'file':
      return makeFile(at, admitted.mode, entry);
  }
}

async function makeFile(at: string, mode: number, entry: TarEntry): Promise<void> {
  const handle = await open(at, 'wx', 0o600);
  try {
    let position = 0;
    for await (const piece of entry.content) {
      await writeAt(handle, piece, position);
      position += piece.byteLength;
    }
    await handle.chmod(mode);
    const { modifiedAt } = entry;
    if (modifiedAt !== undefined) await handle.utimes(modifiedAt, modifiedAt);
  } finally {
    await handle.close();
  }
}

async function* entriesOf({ path, format }: Archive): AsyncGenerator<TarEntry> {
  const { size } = await stat(path);
  const file = createReadStream(path, { highWaterMark: 256 * 1024 });
  try {
    if (format === 'tar') yield* tarEntries(file as AsyncIterable<Buffer>);
    else yield* unpacked(file, format === 'tar.gz' ? createGunzip() : createZstdDecompress(), size);
  } finally {
    file.destroy();
  }
}

async function* unpacked(
  file: ReadStream,
  decompress: Gunzip | ZstdDecompress,
  sizeBytes: number,
): AsyncGenerator<TarEntry> {
  const fed = pipeline(file, decompress);
  // What goes wrong in it, the reader of `decompress` is told.
  fed.catch(() => undefined);
  try {
    yield* tarEntries(decompress as AsyncIterable<Buffer>);
  } finally {
    decompress.destroy();
  }
  // The decompressors leave alone what follows the end of their stream.
  if (decompress.bytesWritten !== sizeBytes) throw new ArchiveRefused('something follows its end');
}
