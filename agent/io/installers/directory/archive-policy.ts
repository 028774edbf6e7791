/** Which entries of an archive may become files: nothing outside of its own tree, and not too much. */
import { ArchiveRefused, quote, type TarEntry } from './tar-entries.ts';
import type { TreeEntry } from './tree.ts';

export interface ArchiveLimits {
  /** Of the content of all files together. */
  readonly maxBytes: number;
  /** Of files, directories and links, with the directories that are only in names of others. */
  readonly maxEntries: number;
  readonly allowSetuid: boolean;
}

/** An entry that may be made. A hard link has the path of the file that it repeats. */
export interface Admitted {
  readonly type: TarEntry['type'];
  readonly path: string;
  readonly link: string;
  /** With what its owner needs to read it, and to empty it if it is a directory. */
  readonly mode: number;
  readonly sizeBytes: number;
}

const MAX_PATH_BYTES = 1024;
const MAX_NAME_BYTES = 255;
const SETUID_SETGID = 0o6000;
/** Of directories that the archive has only in the names of others. */
export const IMPLIED_MODE = 0o755;

/** Judges the entries of one archive in their order. */
export class ArchivePolicy {
  readonly #limits: ArchiveLimits;
  readonly #seen = new Map<string, TreeEntry['type'] | 'implied'>();
  #bytes = 0;

  constructor(limits: ArchiveLimits) {
    this.#limits = limits;
  }

  /** Directories that were in no entry of their own. */
  implied(): string[] {
    return [...this.#seen].flatMap(([path, type]) => (type === 'implied' ? [path] : []));
  }

  /**
   * @returns `undefined` for the root of the tree, which is there already
   * @throws ArchiveRefused naming the entry and what is wrong with it
   */
  admit(entry: Omit<TarEntry, 'content'>): Admitted | undefined {
    const names = namesOf(entry.path, entry.path);
    if (names.length === 0 && entry.type === 'directory') return undefined;
    if (names.length === 0) throw new ArchiveRefused(`${quote(entry.path)} has no name`);
    const path = names.join('/');
    this.#demandNew(path, entry.type);
    this.#demandDirectories(names.slice(0, -1), path);
    const link = this.#linkOf(entry, names);
    this.#seen.set(path, entry.type === 'hardlink' ? 'file' : entry.type);
    this.#count(entry.sizeBytes);
    return { type: entry.type, path, link, mode: this.#modeOf(entry), sizeBytes: entry.sizeBytes };
  }

  #demandNew(path: string, type: TarEntry['type']): void {
    const before = this.#seen.get(path);
    if (before === undefined || (before === 'implied' && type === 'directory')) return;
    throw new ArchiveRefused(`${quote(path)} is there twice`);
  }

  /** A path through a link would lead where the link does. */
  #demandDirectories(names: readonly string[], path: string): void {
    for (let depth = 1; depth <= names.length; depth += 1) {
      const parent = names.slice(0, depth).join('/');
      const type = this.#seen.get(parent);
      if (type === undefined) this.#seen.set(parent, 'implied');
      else if (type !== 'implied' && type !== 'directory') {
        throw new ArchiveRefused(`${quote(path)} leads through ${quote(parent)}, a ${type}`);
      }
    }
  }

  #linkOf({ type, path, link }: Omit<TarEntry, 'content'>, names: readonly string[]): string {
    if (type === 'symlink') return containedLink(link, names.length - 1, path);
    if (type !== 'hardlink') return '';
    const original = namesOf(link, path).join('/');
    if (this.#seen.get(original) === 'file') return original;
    throw new ArchiveRefused(`${quote(path)} is a hard link to ${quote(link)}, no file before it`);
  }

  #modeOf({ type, path, mode }: Omit<TarEntry, 'content'>): number {
    if (type === 'symlink') return 0o777;
    if ((mode & SETUID_SETGID) !== 0 && !this.#limits.allowSetuid) {
      throw new ArchiveRefused(
        `${quote(path)} is setuid or setgid; installer.allow_setuid = true permits that`,
      );
    }
    return (mode & 0o7777) | (type === 'directory' ? 0o700 : 0o400);
  }

  #count(sizeBytes: number): void {
    const { maxBytes, maxEntries } = this.#limits;
    this.#bytes += sizeBytes;
    if (this.#bytes > maxBytes) {
      throw new ArchiveRefused(
        `it unpacks to more than ${String(maxBytes)} bytes (installer.max_unpacked)`,
      );
    }
    if (this.#seen.size > maxEntries) {
      throw new ArchiveRefused(
        `it has more than ${String(maxEntries)} entries (installer.max_entries)`,
      );
    }
  }
}

/** The names of a path below the root of the tree, from the root on. */
function namesOf(path: string, entry: string): readonly string[] {
  if (path.startsWith('/')) throw new ArchiveRefused(`${quote(entry)} names an absolute path`);
  demandText(path, entry);
  const names = path
    .replace(/^(?:\.\/)+/u, '')
    .replace(/\/$/u, '')
    .split('/');
  if (names.length === 1 && (names[0] === '.' || (names[0] === '' && path !== ''))) return [];
  for (const name of names) {
    if (name === '' || name === '.' || name === '..') {
      throw new ArchiveRefused(`${quote(entry)} has ${quote(name)} in ${quote(path)}`);
    }
  }
  return names;
}

function demandText(text: string, entry: string): void {
  // U+FFFD: bytes that are not UTF-8, which others may take for other names.
  if (/[\p{Cc}\ufffd]/u.test(text)) {
    throw new ArchiveRefused(`${quote(entry)} has a control character or no UTF-8 in a name`);
  }
  const tooLong = text.split('/').some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES);
  if (tooLong || Buffer.byteLength(text) > MAX_PATH_BYTES) {
    throw new ArchiveRefused(`${quote(entry)} has a name that is too long`);
  }
}

/**
 * `..` may only lead, and not above the root: after a name it would go up from where that name leads,
 * which may be a link itself, and out of the tree.
 *
 * @param depth - directories above the link, within the tree
 */
function containedLink(link: string, depth: number, entry: string): string {
  demandText(link, entry);
  const names = link.split('/').filter((name) => name !== '.');
  const up = names.findIndex((name) => name !== '..');
  const ups = up === -1 ? names.length : up;
  const leaves = link === '' || link.startsWith('/') || ups > depth;
  if (leaves || names.slice(ups).includes('..')) {
    throw new ArchiveRefused(`${quote(entry)} is a link that may leave the tree: ${quote(link)}`);
  }
  return link;
}
