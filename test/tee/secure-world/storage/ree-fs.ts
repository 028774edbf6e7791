/**
 * Trusted storage in OP-TEE's REE-FS format, byte for byte: what this writes a device can read, and
 * the other way round.
 *
 * A write makes the object's own file durable first, then commits dirf.db. A new object costs four
 * syncs (its data, its name, dirf.db's blocks, dirf.db's head), a changed one three, a removal three (the
 * last for the name that goes), a rename two; objects that are written together share all but the one
 * for their data. An object that does not verify is refused and kept as evidence,
 * where OP-TEE deletes it; `remove` still removes it.
 *
 * The directory as a whole can be replaced by an older copy of itself unless there is an anchor.
 *
 * Source: OP-TEE 4.10 core/tee/tee_ree_fs.c.
 */
import type { Anchor } from './anchor.ts';
import { discard, DRAFT_SUFFIX, type BlockDirectory } from './block-file.ts';
import { openDirectory } from './disk-directory.ts';
import { Directory, DIRECTORY_NAME } from './ree-fs/directory.ts';
import { MAX_ID_BYTES, type Entry } from './ree-fs/dirfile.ts';
import { deriveStorageKey, deriveTaKey, uuidInMemory } from './ree-fs/keys.ts';
import { createObject, fileName, readObject, replaceObject } from './ree-fs/object-file.ts';
import type { ObjectBytes, Renaming, TaUuid, TrustedStorage } from './trusted-storage.ts';

export interface ReeFsOptions {
  /** Made when there is none. No other process can have it open. */
  readonly directory: string;
  /** 16 bytes. */
  readonly huk: Uint8Array;
  /** Detects that dirf.db was rolled back. The first opening with an anchor trusts what it finds. */
  readonly anchor?: Anchor;
}

/**
 * Opens or creates a storage directory, and sweeps what a crash left in it.
 *
 * @throws RangeError for a hardware unique key of another size
 * @throws StorageFailure TEE_ERROR_STORAGE_NOT_AVAILABLE when it is in use or can't be used
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when dirf.db does not verify, or for another key
 * @throws StorageFailure TEE_ERROR_SECURITY when dirf.db was rolled back
 */
export function openReeFs(options: ReeFsOptions): TrustedStorage {
  const disk = openDirectory(options.directory);
  try {
    return openReeFsOn(disk, options);
  } catch (error) {
    disk.close();
    throw error;
  }
}

/** As `openReeFs`, on any disk. `close` closes the disk; a failure to open leaves it open. */
export function openReeFsOn(
  disk: BlockDirectory,
  { huk, anchor }: Omit<ReeFsOptions, 'directory'>,
): TrustedStorage {
  const storageKey = deriveStorageKey(huk);
  const names = disk.names();
  const ports = { disk, key: deriveTaKey(storageKey, undefined), ...(anchor && { anchor }) };
  const directory = new Directory(ports, names.some(isObjectFile));
  sweep(disk, names, directory);
  return new ReeFs(disk, storageKey, directory);
}

class ReeFs implements TrustedStorage {
  readonly #disk: BlockDirectory;
  readonly #storageKey: Uint8Array;
  readonly #directory: Directory;
  #isOpen = true;

  constructor(disk: BlockDirectory, storageKey: Uint8Array, directory: Directory) {
    this.#disk = disk;
    this.#storageKey = storageKey;
    this.#directory = directory;
  }

  read(ta: TaUuid, id: Uint8Array): Uint8Array | undefined {
    const { uuid, entry } = this.#find(ta, id);
    return entry && readObject(this.#disk, entry, deriveTaKey(this.#storageKey, uuid));
  }

  write(ta: TaUuid, id: Uint8Array, data: Uint8Array): void {
    this.writeAll(ta, [{ id, data }]);
  }

  writeAll(ta: TaUuid, objects: readonly ObjectBytes[]): void {
    const { index } = this.#directory;
    const numbers = index.freeFileNumbers();
    const created: number[] = [];
    try {
      const entries = objects.map(({ id, data }) => {
        const { uuid, entry } = this.#find(ta, id);
        const content = { taKey: deriveTaKey(this.#storageKey, uuid), data };
        if (entry !== undefined) {
          return { ...entry, rootHash: replaceObject(this.#disk, entry, content) };
        }
        const fileNumber = numbers.next().value;
        created.push(fileNumber);
        const rootHash = createObject(this.#disk, fileNumber, content);
        return { uuid, id: Uint8Array.from(id), rootHash, fileNumber };
      });
      if (created.length > 0) this.#disk.sync();
      this.#directory.commit(index.planPut(entries));
    } catch (error) {
      // In doubt, dirf.db may list them already.
      const orphans = this.#directory.isInDoubt ? [] : created;
      for (const fileNumber of orphans) discard(this.#disk, fileName(fileNumber));
      throw error;
    }
  }

  rename(ta: TaUuid, from: Uint8Array, to: Uint8Array): Renaming {
    const [source, target] = [this.#find(ta, from), this.#find(ta, to)];
    if (source.entry === undefined) return 'missing';
    if (target.entry !== undefined) return 'exists';
    this.#directory.commit(this.#directory.index.planRenaming(source.entry, to.slice()));
    return 'renamed';
  }

  remove(ta: TaUuid, id: Uint8Array): boolean {
    const { entry } = this.#find(ta, id);
    if (entry === undefined) return false;
    this.#directory.commit(this.#directory.index.planRemoval(entry));
    discard(this.#disk, fileName(entry.fileNumber));
    return true;
  }

  list(ta: TaUuid): readonly Uint8Array[] {
    this.#assertOpen();
    return this.#directory.index
      .entriesOf(uuidInMemory(ta))
      .map((entry) => new Uint8Array(entry.id));
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#directory.close();
    this.#disk.close();
  }

  #find(ta: TaUuid, id: Uint8Array): { uuid: Uint8Array; entry: Entry | undefined } {
    this.#assertOpen();
    if (id.byteLength > MAX_ID_BYTES) throw new RangeError('an object identifier is 0 to 64 bytes');
    const uuid = uuidInMemory(ta);
    return { uuid, entry: this.#directory.index.find(uuid, id) };
  }

  #assertOpen(): void {
    if (!this.#isOpen) throw new RangeError('the trusted storage is closed');
  }
}

/** Whether a file of the directory is storage, and not its lock or something that somebody put there. */
export function isReeFsFile(name: string): boolean {
  return isObjectFile(name) || name === DIRECTORY_NAME || name.endsWith(DRAFT_SUFFIX);
}

function isObjectFile(name: string): boolean {
  return /^[0-9a-f]+$/u.test(name);
}

/** Removes drafts and object files that dirf.db does not list: a crash came before their commit. */
function sweep(disk: BlockDirectory, names: readonly string[], directory: Directory): void {
  const listed = new Set(Array.from(directory.index.fileNumbers, fileName));
  const orphans = names.filter((name) =>
    isObjectFile(name) ? !listed.has(name) : name.endsWith(DRAFT_SUFFIX),
  );
  for (const name of orphans) disk.unlink(name);
  if (orphans.length > 0) disk.sync();
}
