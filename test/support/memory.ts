/** Looks for bytes in the memory of another process. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const CHUNK_BYTES = 4 * 1024 * 1024;

/** @returns which of the needles lie somewhere in the readable memory of `pid` */
export function searchMemory(pid: number, needles: readonly Buffer[]): readonly Buffer[] {
  const overlap = Math.max(...needles.map(({ length }) => length));
  const found = new Set<Buffer>();
  const memory = openSync(`/proc/${String(pid)}/mem`, 'r');
  const chunk = Buffer.alloc(CHUNK_BYTES + overlap);
  try {
    for (const piece of readablePieces(pid)) {
      const bytes = readPiece(memory, chunk, piece);
      for (const needle of needles.filter((one) => bytes.includes(one))) found.add(needle);
    }
  } finally {
    closeSync(memory);
  }
  return [...found];
}

/** Readable memory, cut into pieces; each ends where its region does. */
function* readablePieces(pid: number): Generator<{ at: number; end: number }> {
  for (const { start, end } of readableRegions(pid)) {
    for (let at = start; at < end; at += CHUNK_BYTES) yield { at, end };
  }
}

function readableRegions(pid: number): readonly { start: number; end: number }[] {
  return readFileSync(`/proc/${String(pid)}/maps`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) r.*?(\[v\w+\])?$/u.exec(line);
      if (match === null || match[3] !== undefined) return [];
      return [{ start: Number(`0x${match[1] ?? ''}`), end: Number(`0x${match[2] ?? ''}`) }];
    });
}

function readPiece(
  memory: number,
  chunk: Buffer,
  { at, end }: { at: number; end: number },
): Buffer {
  try {
    const wanted = Math.min(chunk.length, end - at);
    return chunk.subarray(0, readSync(memory, chunk, 0, wanted, at));
  } catch {
    // A region that was unmapped since, or that the kernel does not hand out: a guard page.
    return Buffer.alloc(0);
  }
}
