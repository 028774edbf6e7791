/** Archives made field by field, so that they can be what no program packs. */
const BLOCK = 512;

export interface PackedEntry {
  readonly path: string;
  readonly typeflag?: string;
  readonly link?: string;
  readonly mode?: number;
  readonly content?: Buffer;
  /** Of the header, where it lies about the content. */
  readonly sizeBytes?: number;
  /** Records of a pax header before the entry. */
  readonly pax?: Readonly<Record<string, string>>;
}

/** A POSIX archive with its end mark. */
export function tarArchive(entries: readonly PackedEntry[], end = Buffer.alloc(2 * BLOCK)): Buffer {
  return Buffer.concat([...entries.flatMap(packed), end]);
}

function packed(entry: PackedEntry): Buffer[] {
  const { path, pax = {}, link = '', content = Buffer.alloc(0) } = entry;
  const records = { ...pax };
  if (Buffer.byteLength(path) > 100) records['path'] ??= path;
  if (Buffer.byteLength(link) > 100) records['linkpath'] ??= link;
  const text = Buffer.from(Object.entries(records).map(paxRecord).join(''));
  const extension = [header({ path: 'pax', typeflag: 'x', content: text }), padded(text)];
  return [...(text.byteLength > 0 ? extension : []), header(entry), padded(content)];
}

/** Its length counts itself. */
function paxRecord([key, value]: readonly [string, string]): string {
  const rest = ` ${key}=${value}\n`;
  const length = Buffer.byteLength(rest);
  const digits = String(length + String(length).length).length;
  return `${String(length + digits)}${rest}`;
}

function header(entry: PackedEntry): Buffer {
  const { path, typeflag = '0', link = '', content = Buffer.alloc(0), mode = 0o644 } = entry;
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, width: number): void => {
    block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1');
  };
  block.write(path, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(entry.sizeBytes ?? content.byteLength, 124, 12);
  octal(1_700_000_000, 136, 12);
  block.write(typeflag, 156, 'latin1');
  block.write(link, 157, 100);
  block.write('ustar\u000000', 257, 'latin1');
  block.write('        ', 148, 'latin1');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}

function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((BLOCK - (content.byteLength % BLOCK)) % BLOCK)]);
}
