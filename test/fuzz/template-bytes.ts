/** Finds serialized attributes in the arguments of a command, whatever is before them. */

export type Entry = readonly [number, Uint8Array];

export interface FoundTemplate {
  readonly at: number;
  readonly entries: readonly Entry[];
}

const HEAD_BYTES = 8;

/** @returns the longest list that ends where the bytes end */
export function findTemplate(bytes: Uint8Array): FoundTemplate | undefined {
  const buffer = Buffer.from(bytes);
  for (let at = 0; at + HEAD_BYTES <= buffer.length; at += 1) {
    const size = buffer.readUInt32LE(at);
    if (at + HEAD_BYTES + size !== buffer.length) continue;
    const entries = readEntries(buffer.subarray(at + HEAD_BYTES));
    if (entries?.length === buffer.readUInt32LE(at + 4)) return { at, entries };
  }
  return undefined;
}

function readEntries(bytes: Buffer): readonly Entry[] | undefined {
  const entries: Entry[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + HEAD_BYTES > bytes.length) return undefined;
    const end = at + HEAD_BYTES + bytes.readUInt32LE(at + 4);
    if (end > bytes.length) return undefined;
    entries.push([bytes.readUInt32LE(at), bytes.subarray(at + HEAD_BYTES, end)]);
    at = end;
  }
  return entries;
}
