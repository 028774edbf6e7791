/**
 * Files of the REE-FS that a hostile disk spoiled: what is read is what was written, or StorageFailure
 * says that it is not. Never other contents, never another error.
 */
import { openMemoryAnchor, type Anchor } from '../tee/secure-world/storage/anchor.ts';
import { openReeFsOn } from '../tee/secure-world/storage/ree-fs.ts';
import {
  StorageFailure,
  type TrustedStorage,
} from '../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from '../unit/tee/storage/crash-disk.ts';
import { bytes, id, TA } from '../unit/tee/storage/fixture.ts';
import { holds } from './invariant.ts';
import { mutateBytes } from './mutate.ts';
import type { Random } from './random.ts';
import { BASES, contentsOf, type Base, type Contents, type Files } from './storage-base.ts';
import { EDIT_BYTES, randomEdit, spoil } from './storage-edits.ts';
import type { FuzzTarget } from './target.ts';

/** Base and flags, before the edits. */
const HEAD_BYTES = 2;
const HAS_ANCHOR = 1;
const WRITES = 2;
const NEW_ID = Buffer.from(id('new')).toString('hex');
const NEW_DATA = bytes(5000, 9);

export const storageFiles: FuzzTarget = {
  name: 'storage-files',
  *seeds() {
    for (const base of BASES.keys()) {
      for (const flags of [0, HAS_ANCHOR, WRITES, HAS_ANCHOR | WRITES]) {
        yield Uint8Array.of(base, flags);
      }
    }
  },
  run(input) {
    const [index = 0, flags = 0] = input;
    const base = BASES[index % BASES.length] ?? BASES[0];
    if (base === undefined) return [];
    const files = spoil(base, input.subarray(HEAD_BYTES));
    const anchor = (flags & HAS_ANCHOR) === 0 ? undefined : anchorOf(base);
    const disk = CrashDisk.holding(files);
    const opened = tryTo(() => open(disk, base, anchor));
    if (typeof opened === 'string') return [`open ${opened}`];
    const seen = contentsOf(opened, readOrNothing);
    requireSomeState(base, seen, { files, isNewest: anchor !== undefined });
    const labels = [`${String(seen.size)} ${String(unreadable(seen))}`];
    if ((flags & WRITES) === 0) return labels;
    return [...labels, writeAndReopen({ opened, disk, base, seen, anchor })];
  },
  mutate: mutateEdits,
};

interface Opened {
  readonly opened: TrustedStorage;
  readonly disk: CrashDisk;
  readonly base: Base;
  readonly seen: Contents;
  readonly anchor: Anchor | undefined;
}

/** What was there is still there after a write, whether it succeeds or not. */
function writeAndReopen({ opened, disk, base, seen, anchor }: Opened): string {
  const written = tryTo(() => {
    opened.write(TA, id('new'), NEW_DATA);
    return opened;
  });
  const again = tryTo(() => open(CrashDisk.holding(disk.files()), base, anchor));
  holds(typeof again !== 'string', 'storage that was open does not open after a write');
  const after = contentsOf(again, readOrNothing);
  const isThere = after.has(NEW_ID);
  holds(isThere || typeof written === 'string', 'a write that succeeded is gone');
  if (isThere) {
    holds(same(after.get(NEW_ID), NEW_DATA), 'what was written is not what is read');
  }
  for (const [each, data] of seen) {
    holds(after.has(each), 'a write took another object away');
    holds(same(after.get(each), data), 'a write changed another object');
  }
  holds(after.size === seen.size + (isThere ? 1 : 0), 'a write brought another object back');
  return typeof written === 'string' ? `write ${written}` : 'written';
}

function requireSomeState(
  { history }: Base,
  seen: Contents,
  { files, isNewest }: { readonly files: Files; readonly isNewest: boolean },
): void {
  // Without an anchor an older copy of everything is as good: README.md.
  const states = isNewest ? history.slice(-1) : history;
  const isKnown = states.some(
    ({ contents }) =>
      contents.size === seen.size &&
      [...seen].every(([each, data]) => data === undefined || same(contents.get(each), data)) &&
      [...seen.keys()].every((each) => contents.has(each)),
  );
  holds(isKnown, 'contents that were never written');
  const hasObjects = [...files.keys()].some((name) => /^[0-9a-f]+$/u.test(name));
  const isFresh = seen.size === 0 && !files.has('dirf.db');
  holds(!isFresh || !hasObjects, 'objects without a directory became an empty storage');
}

function open(disk: CrashDisk, { huk }: Base, anchor: Anchor | undefined): TrustedStorage {
  return openReeFsOn(disk, { huk, ...(anchor && { anchor }) });
}

/** Anchored at the newest state. */
function anchorOf(base: Base): Anchor {
  const anchor = openMemoryAnchor();
  const newest = base.history.at(-1)?.files ?? new Map<string, Uint8Array>();
  open(CrashDisk.holding(newest), base, anchor).close();
  return anchor;
}

function readOrNothing(storage: TrustedStorage, each: Uint8Array): Uint8Array | undefined {
  const data = tryTo(() => storage.read(TA, each));
  return typeof data === 'string' ? undefined : data;
}

/** @returns the TEE_Result of a StorageFailure, as text */
function tryTo<T>(act: () => T): T | string {
  try {
    return act();
  } catch (error) {
    if (error instanceof StorageFailure) return error.result.toString(16);
    throw error;
  }
}

function unreadable(contents: Contents): number {
  return [...contents.values()].filter((data) => data === undefined).length;
}

function same(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return Buffer.compare(one, other) === 0;
}

function mutateEdits(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  if (random.oneIn(16)) return mutateBytes(input, random, other);
  const bytesOf = [...input];
  if (random.oneIn(8)) bytesOf[0] = random.below(BASES.length);
  if (random.oneIn(4)) bytesOf[1] = random.below(4);
  const edits = Math.floor((bytesOf.length - HEAD_BYTES) / EDIT_BYTES);
  const at = HEAD_BYTES + EDIT_BYTES * random.below(edits + 1);
  const isInserted = edits === 0 || random.oneIn(2);
  if (!isInserted && random.oneIn(3)) bytesOf.splice(at, EDIT_BYTES);
  else bytesOf.splice(at, isInserted ? 0 : EDIT_BYTES, ...randomEdit(random));
  return Uint8Array.from(bytesOf.slice(0, HEAD_BYTES + 8 * EDIT_BYTES));
}
