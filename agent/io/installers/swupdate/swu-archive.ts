/** What lies where in a .swu: a cpio archive (newc, with or without sums) that begins with its description. */
import { open, type FileHandle } from 'node:fs/promises';

export interface SwuEntry {
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface SwuArchive {
  readonly description: string;
  readonly entries: ReadonlyMap<string, SwuEntry>;
}

const HEADER_BYTES = 110;
const MAX_NAME_BYTES = 256;
const MAX_ENTRIES = 4096;
const MAX_DESCRIPTION_BYTES = 1024 * 1024;
const DESCRIPTION = 'sw-description';
const TRAILER = 'TRAILER!!!';

/** @throws Error if it is not such a file */
export async function readSwu(path: string): Promise<SwuArchive> {
  const file = await open(path, 'r');
  try {
    const entries = await readEntries(file);
    const [[name, first] = []] = entries;
    if (name !== DESCRIPTION || first === undefined || first.sizeBytes > MAX_DESCRIPTION_BYTES) {
      throw notSwu(`it does not begin with a ${DESCRIPTION} of at most 1 MiB`);
    }
    const description = await readAt(file, first.offset, first.sizeBytes);
    return { description: description.toString('utf8'), entries };
  } finally {
    await file.close();
  }
}

async function readEntries(file: FileHandle): Promise<ReadonlyMap<string, SwuEntry>> {
  const entries = new Map<string, SwuEntry>();
  let at = 0;
  while (entries.size < MAX_ENTRIES) {
    const header = (await readAt(file, at, HEADER_BYTES)).toString('latin1');
    if (!/^07070[12][0-9A-Fa-f]{104}$/u.test(header)) {
      throw notSwu(`no cpio header at byte ${String(at)} (make it with cpio -H crc)`);
    }
    const field = (index: number): number =>
      Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const [sizeBytes, nameBytes] = [field(6), field(11)];
    if (nameBytes < 2 || nameBytes > MAX_NAME_BYTES) throw notSwu('a name of an impossible length');
    const name = (await readAt(file, at + HEADER_BYTES, nameBytes - 1)).toString('utf8');
    const offset = aligned(at + HEADER_BYTES + nameBytes);
    if (name === TRAILER) return entries;
    if (entries.has(name)) throw notSwu(`${name} is in it twice`);
    entries.set(name, { offset, sizeBytes });
    at = aligned(offset + sizeBytes);
  }
  throw notSwu('too many entries');
}

async function readAt(file: FileHandle, offset: number, lengthBytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(lengthBytes), 0, lengthBytes, offset);
  if (bytesRead === lengthBytes) return buffer;
  const { size } = await file.stat();
  throw notSwu(`it ends at byte ${String(size)}, in the middle of an entry`);
}

function aligned(offset: number): number {
  return Math.ceil(offset / 4) * 4;
}

function notSwu(problem: string): Error {
  return new Error(`the image is not a .swu file: ${problem}`);
}
