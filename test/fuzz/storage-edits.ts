/** What a hostile disk does to files, as bytes: eight for each edit. */
import type { Random } from './random.ts';
import type { Base, Files } from './storage-base.ts';

export const EDIT_BYTES = 8;
const BLOCK_BYTES = 4096;
const HEAD_BYTES = 68;
const NODE_BYTES = 66;
/** Beside the names that are there: drafts, the lowest free numbers, and names of nobody. */
const OTHER_NAMES: readonly string[] = ['dirf.db', '0', '3', '4', '0.new', 'a', 'ff', 'README'];

interface Edit {
  readonly kind: number;
  readonly name: string;
  readonly at: number;
  readonly length: number;
  readonly value: number;
}

type Disk = Map<string, Uint8Array>;

const KINDS: readonly ((disk: Disk, edit: Edit, base: Base) => void)[] = [
  /** A bit. */
  (disk, { name, at, value }) => {
    change(disk, name, (file) => {
      file[at % file.length] = (file[at % file.length] ?? 0) ^ (1 << (value & 7));
    });
  },
  /** A byte. */
  (disk, { name, at, value }) => {
    change(disk, name, (file) => file.fill(value, at % file.length, (at % file.length) + 1));
  },
  /** A number. */
  (disk, { name, at, length }) => {
    change(disk, name, (file) => {
      const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
      if (file.length >= 4) view.setInt32(at % (file.length - 3), (length << 16) >> 16, true);
    });
  },
  /** Cut short. */
  (disk, { name, at }) => {
    change(disk, name, (file) => file.subarray(0, at % file.length));
  },
  /** Longer. */
  (disk, { name, length, value }) => {
    change(disk, name, (file) => Buffer.concat([file, Buffer.alloc(length, value)]));
  },
  /** A range of one value. */
  (disk, { name, at, length, value }) => {
    change(disk, name, (file) => file.fill(value, at % file.length, (at % file.length) + length));
  },
  /** Two blocks of a file change places. */
  (disk, { name, at, value }) => {
    change(disk, name, (file) => {
      const blocks = Math.ceil(file.length / BLOCK_BYTES);
      swap(file, BLOCK_BYTES, (at % blocks) * BLOCK_BYTES, (value % blocks) * BLOCK_BYTES);
    });
  },
  /** The two heads change places; or the two roots, or two nodes. */
  (disk, { name, at, value }) => {
    change(disk, name, (file) => {
      if (value % 2 === 0) swap(file, HEAD_BYTES, 0, HEAD_BYTES);
      else swap(file, NODE_BYTES, BLOCK_BYTES, BLOCK_BYTES + NODE_BYTES * (1 + (at % 12)));
    });
  },
  /** One head or root is copied over the other, and counts for it. */
  (disk, { name, value }) => {
    change(disk, name, (file) => {
      file.copyWithin((value & 1) * HEAD_BYTES, (1 - (value & 1)) * HEAD_BYTES, HEAD_BYTES * 2);
      if ((value & 2) === 0) return;
      file.copyWithin(
        BLOCK_BYTES + (value & 1) * NODE_BYTES,
        BLOCK_BYTES,
        BLOCK_BYTES + NODE_BYTES,
      );
    });
  },
  /** The file as it was before. */
  (disk, { name, value }, base) => {
    const old = versionOf(base, value).get(name);
    if (old !== undefined) disk.set(name, old.slice());
  },
  /** A block as it was before. */
  (disk, { name, at, value }, base) => {
    const old = versionOf(base, value).get(name);
    if (old === undefined) return;
    change(disk, name, (file) => {
      const start = BLOCK_BYTES * (at % Math.ceil(file.length / BLOCK_BYTES));
      file.set(old.subarray(start, Math.min(start + BLOCK_BYTES, file.length)), start);
    });
  },
  /** Everything as it was before. */
  (disk, { value }, base) => {
    disk.clear();
    for (const [name, file] of versionOf(base, value)) disk.set(name, file.slice());
  },
  (disk, { name }) => disk.delete(name),
  /** Under another name. */
  (disk, { name, at }) => {
    const file = disk.get(name);
    disk.delete(name);
    if (file !== undefined) disk.set(nameAt(disk, at), file);
  },
  /** A copy under another name. */
  (disk, { name, at }) => {
    const file = disk.get(name);
    if (file !== undefined) disk.set(nameAt(disk, at), file.slice());
  },
  /** Two files change names. */
  (disk, { name, at }) => {
    const other = nameAt(disk, at);
    const [file, second] = [disk.get(name), disk.get(other)];
    if (file === undefined || second === undefined) return;
    disk.set(name, second).set(other, file);
  },
];

/** @param edits - an edit that is cut short is none */
export function spoil(base: Base, edits: Uint8Array): Files {
  const newest = versionOf(base, base.history.length - 1);
  const disk: Disk = new Map(Array.from(newest, ([name, file]) => [name, file.slice()]));
  const view = Buffer.from(edits);
  for (let at = 0; at + EDIT_BYTES <= view.length; at += EDIT_BYTES) {
    const edit = {
      kind: view.readUInt8(at),
      name: nameAt(disk, view.readUInt8(at + 1)),
      at: view.readUIntLE(at + 2, 3),
      length: view.readUInt16LE(at + 5),
      value: view.readUInt8(at + 7),
    };
    KINDS[edit.kind % KINDS.length]?.(disk, edit, base);
  }
  return disk;
}

export function randomEdit(random: Random): Uint8Array {
  const edit = Buffer.alloc(EDIT_BYTES);
  edit.writeUInt8(random.below(KINDS.length), 0);
  edit.writeUInt8(random.below(8), 1);
  edit.writeUIntLE(placeThatMatters(random), 2, 3);
  edit.writeUInt16LE(random.oneIn(3) ? random.below(0x1_0000) : random.below(200), 5);
  edit.writeUInt8(random.oneIn(2) ? random.below(16) : random.below(256), 7);
  return edit;
}

/** Heads, nodes and the starts of blocks; anywhere, at times. */
function placeThatMatters(random: Random): number {
  switch (random.below(4)) {
    case 0:
      return random.below(2 * HEAD_BYTES);
    case 1:
      return BLOCK_BYTES + random.below(12 * NODE_BYTES);
    case 2:
      return BLOCK_BYTES * random.below(12) + random.below(200);
    default:
      return random.below(0x1_0000);
  }
}

function nameAt(disk: Disk, index: number): string {
  const names = [...[...disk.keys()].sort(), ...OTHER_NAMES];
  return names[index % names.length] ?? '0';
}

function versionOf({ history }: Base, index: number): Files {
  return history[index % history.length]?.files ?? new Map<string, Uint8Array>();
}

function change(disk: Disk, name: string, how: (file: Uint8Array) => unknown): void {
  const file = disk.get(name);
  if (file === undefined || file.length === 0) return;
  const changed = how(file);
  if (changed instanceof Uint8Array) disk.set(name, Uint8Array.from(changed));
}

function swap(file: Uint8Array, size: number, one: number, other: number): void {
  const first = file.slice(one, one + size);
  const second = file.slice(other, other + size);
  if (first.length === 0 || second.length === 0) return;
  file.set(first.subarray(0, second.length), other);
  file.set(second.subarray(0, first.length), one);
}
