/**
 * Trusted storage in OP-TEE's RPMB-FS format, on a chip that detects replay: an older content can't be
 * put back without its key.
 *
 * Contents are written to free blocks first, then one entry of the table of files, a single block,
 * commits them. Contents of the same size that one write of the chip can take are replaced in place.
 * Each version that is not has a file key of its own, where OP-TEE keeps the file's first.
 *
 * Source: OP-TEE 4.10 core/tee/tee_rpmb_fs.c.
 */
import { randomBytes } from 'node:crypto';

import { MAX_ID_BYTES } from './ree-fs/dirfile.ts';
import {
  deriveStorageKey,
  deriveTaKey,
  FEK_BYTES,
  unwrapFek,
  uuidInMemory,
  wrapFek,
} from './ree-fs/keys.ts';
import { decryptBlocks, encryptBlocks } from './rpmb/block-cipher.ts';
import type { RpmbDevice } from './rpmb/device.ts';
import { RpmbDriver, type WhenUnprogrammed } from './rpmb/driver.ts';
import { blocksOf, Fat, FAT_START_BYTES, type FatEntry } from './rpmb/fat.ts';
import { BLOCK_BYTES } from './rpmb/frame.ts';
import { draftName, identifierIn, isDraft, objectName } from './rpmb/names.ts';
import {
  StorageFailure,
  TEE_ERROR_CORRUPT_OBJECT,
  type Renaming,
  type TaUuid,
  type TrustedStorage,
} from './trusted-storage.ts';

export interface RpmbFsOptions {
  readonly device: RpmbDevice;
  /** 16 bytes. */
  readonly huk: Uint8Array;
  /** Default `program`: the first world that meets a chip takes it over. */
  readonly whenUnprogrammed?: WhenUnprogrammed;
}

/** Files of the core itself, which belong to no TA. */
export interface RawFiles {
  readRaw(name: string): Uint8Array | undefined;
  /** Atomic and durable when it returns. */
  writeRaw(name: string, data: Uint8Array): void;
}

const MAGIC = 0x5250_4d42;
const VERSION = 2;

/**
 * Opens the file system on a chip, makes it on a blank one, and sweeps what a crash left.
 *
 * `close` closes the device; a failure to open leaves it open.
 *
 * @throws RangeError for a hardware unique key of another size
 * @throws StorageFailure TEE_ERROR_COMMUNICATION when the chip has another key or does not answer
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when it holds something else than an RPMB-FS
 */
export function openRpmbFs(options: RpmbFsOptions): TrustedStorage & RawFiles {
  const { device, huk, whenUnprogrammed = 'program' } = options;
  const storageKey = deriveStorageKey(huk);
  const driver = new RpmbDriver({ device, huk, whenUnprogrammed });
  if (!isFormatted(driver)) format(driver);
  const fat = new Fat(driver);
  for (const name of fat.names()) {
    const draft = isDraft(name) ? fat.find(name) : undefined;
    if (draft !== undefined) fat.set(draft.index, undefined);
  }
  return new RpmbFs(driver, storageKey, fat);
}

class RpmbFs implements TrustedStorage, RawFiles {
  readonly #driver: RpmbDriver;
  readonly #storageKey: Uint8Array;
  readonly #fat: Fat;
  #isOpen = true;

  constructor(driver: RpmbDriver, storageKey: Uint8Array, fat: Fat) {
    this.#driver = driver;
    this.#storageKey = storageKey;
    this.#fat = fat;
  }

  read(ta: TaUuid, id: Uint8Array): Uint8Array | undefined {
    return this.#read(this.#object(ta, id));
  }

  write(ta: TaUuid, id: Uint8Array, data: Uint8Array): void {
    this.#write(this.#object(ta, id), data);
  }

  rename(ta: TaUuid, from: Uint8Array, to: Uint8Array): Renaming {
    const known = this.#fat.find(this.#object(ta, from).name);
    const { name } = this.#object(ta, to);
    if (known === undefined) return 'missing';
    if (this.#fat.find(name) !== undefined) return 'exists';
    this.#fat.set(known.index, { ...known.entry, name });
    return 'renamed';
  }

  remove(ta: TaUuid, id: Uint8Array): boolean {
    const known = this.#fat.find(this.#object(ta, id).name);
    if (known === undefined) return false;
    this.#fat.set(known.index, undefined);
    return true;
  }

  list(ta: TaUuid): readonly Uint8Array[] {
    this.#assertUsable();
    const uuid = uuidInMemory(ta);
    return this.#fat
      .names()
      .map((name) => identifierIn(name, uuid))
      .filter((id) => id !== undefined);
  }

  readRaw(name: string): Uint8Array | undefined {
    return this.#read(this.#raw(name));
  }

  writeRaw(name: string, data: Uint8Array): void {
    this.#write(this.#raw(name), data);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#driver.close();
  }

  #read({ name, key }: RpmbFile): Uint8Array | undefined {
    const known = this.#fat.find(name);
    if (known === undefined) return undefined;
    const { startBlock, lengthBytes, fek } = known.entry;
    const cipherText = this.#driver.read(startBlock, blocksOf(lengthBytes));
    const plain = decryptBlocks(unwrapFek(key, fek), startBlock, cipherText);
    return new Uint8Array(plain.subarray(0, lengthBytes));
  }

  #write(file: RpmbFile, data: Uint8Array): void {
    const known = this.#fat.find(file.name);
    if (known === undefined) {
      this.#create(file, data);
    } else if (this.#isReplaceable(known.entry, data)) {
      const { startBlock, fek } = known.entry;
      this.#store(unwrapFek(file.key, fek), startBlock, data);
    } else {
      const startBlock = this.#fat.allocate(data.byteLength, 0);
      this.#fat.set(known.index, this.#place(file, startBlock, data));
    }
  }

  #isReplaceable({ lengthBytes }: FatEntry, data: Uint8Array): boolean {
    return lengthBytes === data.byteLength && blocksOf(lengthBytes) <= this.#driver.atomicBlocks;
  }

  #create(file: RpmbFile, data: Uint8Array): void {
    const { index, isLast } = this.#fat.firstFree();
    const startBlock = this.#fat.allocate(data.byteLength, isLast ? 1 : 0);
    if (isLast) this.#fat.expand();
    const draft = { startBlock: 0, lengthBytes: 0, fek: wrapFek(file.key, newFek()) };
    this.#fat.set(index, { ...draft, name: draftName(file.name) });
    this.#fat.set(index, this.#place(file, startBlock, data));
  }

  /** Writes contents where nothing refers to them yet, under a key of their own. */
  #place({ name, key }: RpmbFile, startBlock: number, data: Uint8Array): FatEntry {
    const fek = newFek();
    this.#store(fek, startBlock, data);
    const isEmpty = data.byteLength === 0;
    const lengthBytes = data.byteLength;
    return { name, startBlock: isEmpty ? 0 : startBlock, lengthBytes, fek: wrapFek(key, fek) };
  }

  #store(fek: Uint8Array, startBlock: number, data: Uint8Array): void {
    const plain = new Uint8Array(blocksOf(data.byteLength) * BLOCK_BYTES);
    plain.set(data);
    this.#driver.write(startBlock, encryptBlocks(fek, startBlock, plain));
  }

  #object(ta: TaUuid, id: Uint8Array): RpmbFile {
    this.#assertUsable();
    if (id.byteLength > MAX_ID_BYTES) throw new RangeError('an object identifier is 0 to 64 bytes');
    const uuid = uuidInMemory(ta);
    return { name: objectName(uuid, id), key: deriveTaKey(this.#storageKey, uuid) };
  }

  #raw(name: string): RpmbFile {
    this.#assertUsable();
    return { name: `/${name}`, key: deriveTaKey(this.#storageKey, undefined) };
  }

  #assertUsable(): void {
    if (!this.#isOpen) throw new RangeError('the trusted storage is closed');
    this.#driver.assertAlive();
  }
}

/** A file by its full name, and the key that wraps its file key. */
interface RpmbFile {
  readonly name: string;
  readonly key: Uint8Array;
}

function newFek(): Uint8Array {
  return randomBytes(FEK_BYTES);
}

/** Stricter than OP-TEE, which makes a file system wherever it finds none. */
function isFormatted(driver: RpmbDriver): boolean {
  const partition = driver.read(0, 1);
  if (partition.every((byte) => byte === 0)) return false;
  const [magic, version] = [partition.readUInt32LE(0), partition.readUInt32LE(4)];
  const fatStart = partition.readUInt32LE(12);
  if (magic === MAGIC && version === VERSION && fatStart === FAT_START_BYTES) return true;
  throw new StorageFailure(
    TEE_ERROR_CORRUPT_OBJECT,
    `the RPMB holds no RPMB-FS of version ${String(VERSION)}: magic ${magic.toString(16)}, version ${String(version)}, table at ${String(fatStart)}`,
  );
}

/** The table comes first: there is a file system once the first block says so. */
function format(driver: RpmbDriver): void {
  Fat.format(driver);
  const partition = Buffer.alloc(BLOCK_BYTES);
  partition.writeUInt32LE(MAGIC, 0);
  partition.writeUInt32LE(VERSION, 4);
  partition.writeUInt32LE(driver.writeCounter, 8);
  partition.writeUInt32LE(FAT_START_BYTES, 12);
  driver.write(0, partition);
}
