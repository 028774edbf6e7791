/** Storage directories to spoil: files, what they hold, and every state they were in before. */
import { readdirSync, readFileSync } from 'node:fs';

import { openReeFsOn } from '../tee/secure-world/storage/ree-fs.ts';
import type { TrustedStorage } from '../tee/secure-world/storage/trusted-storage.ts';
import { CrashDisk } from '../unit/tee/storage/crash-disk.ts';
import { bytes, HUK, id, TA } from '../unit/tee/storage/fixture.ts';

export type Files = ReadonlyMap<string, Uint8Array>;
/** By identifier, hexadecimal text; a value that could not be read is `undefined`. */
export type Contents = ReadonlyMap<string, Uint8Array | undefined>;

export interface State {
  readonly files: Files;
  readonly contents: Contents;
}

export interface Base {
  readonly huk: Uint8Array;
  /** Oldest first; the last one is what is spoiled. The first is an empty directory. */
  readonly history: readonly State[];
}

const REAL = new URL('../vectors/optee-storage/huk-zero/', import.meta.url);

export const BASES: readonly Base[] = [written(), recorded()];

type Read = (storage: TrustedStorage, id: Uint8Array) => Uint8Array | undefined;

export function contentsOf(storage: TrustedStorage, read: Read = readOrThrow): Contents {
  return new Map(
    storage.list(TA).map((each) => [Buffer.from(each).toString('hex'), read(storage, each)]),
  );
}

function readOrThrow(storage: TrustedStorage, each: Uint8Array): Uint8Array {
  const data = storage.read(TA, each);
  if (data === undefined) throw new Error('an object is listed, but there is none');
  return data;
}

/** Objects that were written several times, one of several blocks, and one that was removed. */
function written(): Base {
  const disk = new CrashDisk();
  const storage = openReeFsOn(disk, { huk: HUK });
  const history: State[] = [];
  const remember = (): void => {
    history.push({ files: disk.files(), contents: contentsOf(storage) });
  };
  remember();
  for (const round of [1, 2, 3]) {
    storage.write(TA, id('a'), bytes(100, round));
    remember();
    storage.write(TA, id('b'), bytes(10_000 - round, round));
    remember();
    storage.write(TA, id('gone'), bytes(round, round));
    remember();
  }
  storage.remove(TA, id('gone'));
  remember();
  return { huk: HUK, history };
}

/** What a real OP-TEE wrote. */
function recorded(): Base {
  const huk = new Uint8Array(16);
  const files = new Map(
    readdirSync(REAL).map((name) => [name, Uint8Array.from(readFileSync(new URL(name, REAL)))]),
  );
  const storage = openReeFsOn(CrashDisk.holding(files), { huk });
  const empty: State = { files: new Map(), contents: new Map() };
  return { huk, history: [empty, { files, contents: contentsOf(storage) }] };
}
