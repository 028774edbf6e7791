/**
 * The entries of a tar archive (POSIX.1-2017 pax, "ustar Interchange Format"; GNU long names).
 *
 * Two readers that disagree where an entry ends let an archive hold what only one of them sees. So
 * the length of every entry is that of its own header, and whatever could say otherwise is refused:
 * a `size` record, sparse files, links and directories with content, bytes after the end.
 */
import { Header } from 'tar';

import { ByteReader } from './byte-reader.ts';

export interface TarEntry {
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  /** As it was packed, unchecked; so is `link`. */
  readonly path: string;
  /** Where a symlink points to, or which entry a hard link repeats; empty for others. */
  readonly link: string;
  readonly mode: number;
  readonly sizeBytes: number;
  readonly modifiedAt: Date | undefined;
  /** What a file holds; to be read to its end, or not at all, before the next entry is asked for. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** What is wrong with an archive, in words that name the entry. */
export class ArchiveRefused extends Error {
  override readonly name = 'ArchiveRefused';
}

const BLOCK_BYTES = 512;
/** Of the names and records that precede an entry: they are held in memory. */
const MAX_EXTENSION_BYTES = 64 * 1024;
const MAX_PIECE_BYTES = 1024 * 1024;

/** @throws ArchiveRefused for all that is not a well-formed archive of files, directories and links */
export async function* tarEntries(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const bytes = new ByteReader(source);
  let records: ReadonlyMap<string, string> = new Map();
  for (;;) {
    const block = await bytes.take(BLOCK_BYTES);
    if (block.byteLength < BLOCK_BYTES) throw new ArchiveRefused('it ends before its end mark');
    if (block.every((byte) => byte === 0)) break;
    const header = decodeHeader(block);
    const extend = EXTENSIONS.get(header.typeflag);
    if (extend !== undefined) {
      records = new Map([...records, ...extend(await extension(bytes, header))]);
      continue;
    }
    const entry = describeEntry(header, records);
    const content = contentOf(bytes, entry);
    yield { ...entry, content };
    while ((await content.next()).done !== true);
    await bytes.take(paddingAfter(entry.sizeBytes));
    records = new Map();
  }
  if (records.size > 0) throw new ArchiveRefused('a name at its end belongs to no entry');
  await demandZeros(bytes);
}

interface TarHeader {
  readonly typeflag: string;
  readonly path: string;
  readonly link: string;
  readonly mode: number;
  readonly sizeBytes: number;
  readonly modifiedAt: Date | undefined;
}

function decodeHeader(block: Buffer): TarHeader {
  const header = new Header(block);
  const path = header.path ?? '';
  if (!header.cksumValid)
    throw new ArchiveRefused('a header has a wrong checksum: no tar archive?');
  if (!block.toString('latin1', 257, 262).startsWith('ustar')) {
    throw new ArchiveRefused(`${quote(path)} is in an old format; pack with tar --format=posix`);
  }
  const sizeBytes = octal(block, 124, 136);
  const mode = octal(block, 100, 108);
  if (sizeBytes === undefined || mode === undefined) {
    throw new ArchiveRefused(`${quote(path)} has a size or mode that is not octal`);
  }
  const typeflag = String.fromCharCode(block[156] ?? 0).replace('\0', '0');
  const modifiedAt = isPast2106(header.mtime) ? undefined : header.mtime;
  return { typeflag, path, link: header.linkpath ?? '', mode, sizeBytes, modifiedAt };
}

/** Not every file system has a name for such a time. */
function isPast2106(time: Date | undefined): boolean {
  return time === undefined || !(time.getTime() < 2 ** 32 * 1000);
}

/** Digits to a space, a NUL or the end of the field, and nothing else: others read others differently. */
function octal(block: Buffer, from: number, to: number): number | undefined {
  const text = block.toString('latin1', from, to);
  return /^ *[0-7]+[ \0]*$/u.test(text) ? Number.parseInt(text, 8) : undefined;
}

type Records = ReadonlyMap<string, string>;

/** Headers that describe the next entry, by type flag. */
const EXTENSIONS: ReadonlyMap<string, (content: Buffer) => Records> = new Map([
  ['x', (content: Buffer) => paxRecords(content, ENTRY_RECORDS)],
  // As `git archive` writes it, with the commit.
  ['g', (content: Buffer) => paxRecords(content, new Set(['comment']))],
  ['L', (content: Buffer) => new Map([['path', longName(content)]])],
  ['K', (content: Buffer) => new Map([['linkpath', longName(content)]])],
]);

/** What may be said of an entry. `size`, sparse maps, attributes and ACLs are not among it. */
const ENTRY_RECORDS: ReadonlySet<string> = new Set([
  ...['path', 'linkpath', 'mtime', 'atime', 'ctime'],
  ...['uid', 'gid', 'uname', 'gname', 'comment'],
]);

async function extension(bytes: ByteReader, header: TarHeader): Promise<Buffer> {
  const { sizeBytes } = header;
  if (sizeBytes > MAX_EXTENSION_BYTES) {
    throw new ArchiveRefused(`a name or its records are ${String(sizeBytes)} bytes long`);
  }
  const content = await bytes.take(sizeBytes);
  const padding = await bytes.take(paddingAfter(sizeBytes));
  if (content.byteLength + padding.byteLength < sizeBytes + paddingAfter(sizeBytes)) {
    throw new ArchiveRefused('it ends within a name');
  }
  return content;
}

/** `LENGTH KEY=VALUE\n`, over and over. */
function paxRecords(content: Buffer, known: ReadonlySet<string>): Records {
  const records = new Map<string, string>();
  for (let at = 0; at < content.byteLength;) {
    const digits = /^[1-9]\d{0,4}(?= )/u.exec(content.toString('latin1', at, at + 6))?.[0] ?? '';
    const record = content.subarray(at, at + Number(digits));
    const text = record.toString('utf8', digits.length + 1);
    const [key = ''] = text.split('=', 1);
    if (digits === '' || record.byteLength !== Number(digits) || !/^[^=]+=.*\n$/su.test(text)) {
      throw new ArchiveRefused('a pax record is malformed');
    }
    if (!known.has(key)) {
      throw new ArchiveRefused(
        `pax record ${quote(key)} is not taken; pack without sparse files, attributes and ACLs`,
      );
    }
    if (records.has(key)) throw new ArchiveRefused(`pax record ${quote(key)} is there twice`);
    records.set(key, text.slice(key.length + 1, -1));
    at += record.byteLength;
  }
  records.delete('comment');
  return records;
}

/** Ends with one NUL, which is not part of it. */
function longName(content: Buffer): string {
  return content.toString('utf8').replace(/\0$/u, '');
}

const TYPES: ReadonlyMap<string, TarEntry['type']> = new Map([
  ['0', 'file'],
  ['1', 'hardlink'],
  ['2', 'symlink'],
  ['5', 'directory'],
]);

const OTHER_TYPES: ReadonlyMap<string, string> = new Map([
  ['3', 'a character device'],
  ['4', 'a block device'],
  ['6', 'a fifo'],
  ['S', 'a sparse file'],
]);

function describeEntry(header: TarHeader, records: Records): Omit<TarEntry, 'content'> {
  const path = records.get('path') ?? header.path;
  const { mode, sizeBytes, modifiedAt, typeflag } = header;
  const listed = TYPES.get(typeflag);
  if (listed === undefined) {
    const what = OTHER_TYPES.get(typeflag) ?? `of type ${quote(typeflag)}`;
    throw new ArchiveRefused(`${quote(path)} is ${what}`);
  }
  const type = listed === 'file' && path.endsWith('/') ? 'directory' : listed;
  if (type !== 'file' && sizeBytes !== 0) {
    throw new ArchiveRefused(`${quote(path)} is a ${type} with content`);
  }
  const isLink = type === 'symlink' || type === 'hardlink';
  const link = isLink ? (records.get('linkpath') ?? header.link) : '';
  return { type, path, link, mode, sizeBytes, modifiedAt };
}

async function* contentOf(
  bytes: ByteReader,
  { path, sizeBytes }: Pick<TarEntry, 'path' | 'sizeBytes'>,
): AsyncGenerator<Uint8Array> {
  for (let left = sizeBytes; left > 0;) {
    const piece = await bytes.some(Math.min(left, MAX_PIECE_BYTES));
    if (piece === undefined) throw new ArchiveRefused(`it ends within ${quote(path)}`);
    left -= piece.byteLength;
    yield piece;
  }
}

function paddingAfter(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

async function demandZeros(bytes: ByteReader): Promise<void> {
  for (;;) {
    const piece = await bytes.some(MAX_PIECE_BYTES);
    if (piece === undefined) return;
    if (piece.some((byte) => byte !== 0)) throw new ArchiveRefused('something follows its end');
  }
}

/** A name from an archive, as it may be shown on a terminal. */
export function quote(name: string): string {
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name;
  return JSON.stringify(shown).replace(/[\u007f-\u009f]/gu, '?');
}
