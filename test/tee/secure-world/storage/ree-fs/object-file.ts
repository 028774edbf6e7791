/**
 * One object, one file. Which version of the file counts is decided by the root hash in dirf.db and
 * never by the file's own head; so nothing here needs an order of writes, only to be durable before
 * dirf.db is committed.
 */
import { MAX_FILE_BYTES, withFile, type BlockDirectory, type BlockFile } from '../block-file.ts';
import type { Entry } from './dirfile.ts';
import { blocksOf, openListed, readContent, type HashTree } from './htree.ts';
import { blocksIn, imageOf, newTree, stageTree, type Staged } from './htree-stage.ts';
import { corrupt, fileBytes, type FileImage } from './layout.ts';
import { StorageFailure, TEE_ERROR_STORAGE_NO_SPACE } from '../trusted-storage.ts';

export function fileName(fileNumber: number): string {
  return fileNumber.toString(16);
}

/** @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the file is not what dirf.db lists */
export function readObject(disk: BlockDirectory, entry: Entry, taKey: Uint8Array): Uint8Array {
  return withFile(openFileOf(disk, entry), (file) => {
    const { image, tree } = openVersion(file, entry, taKey);
    return new Uint8Array(readContent(image, tree));
  });
}

/**
 * Writes an object into a new file. Its data is durable when this returns, its name is not: what a
 * crash leaves of it is a file that dirf.db does not list, and the next opening sweeps it.
 *
 * @returns the root hash for dirf.db
 */
export function createObject(
  disk: BlockDirectory,
  fileNumber: number,
  { taKey, data }: { readonly taKey: Uint8Array; readonly data: Uint8Array },
): Uint8Array {
  const staged = stageObject(newTree(taKey), data);
  withFile(disk.create(fileName(fileNumber)), (file) => {
    file.write({ offsetBytes: 0, bytes: imageOf(staged) });
    file.sync();
  });
  return staged.tree.rootHash;
}

/**
 * Writes the next version of an object beside the one that dirf.db lists, durably.
 *
 * @returns the root hash for dirf.db; until it is committed there, the object is unchanged
 * @throws StorageFailure TEE_ERROR_CORRUPT_OBJECT when the listed version does not verify, since
 *   then nobody knows which places are free
 */
export function replaceObject(
  disk: BlockDirectory,
  entry: Entry,
  { taKey, data }: { readonly taKey: Uint8Array; readonly data: Uint8Array },
): Uint8Array {
  return withFile(openFileOf(disk, entry), (file) => {
    const staged = stageObject(openVersion(file, entry, taKey).tree, data);
    for (const placed of [...staged.body, staged.head]) file.write(placed);
    file.sync();
    return staged.tree.rootHash;
  });
}

/** @throws StorageFailure TEE_ERROR_STORAGE_NO_SPACE for more than a file may hold */
function stageObject(tree: HashTree, data: Uint8Array): Staged {
  if (fileBytes(blocksOf(data.byteLength)) > MAX_FILE_BYTES) {
    const what = `an object of ${String(data.byteLength)} bytes is too large`;
    throw new StorageFailure(TEE_ERROR_STORAGE_NO_SPACE, what);
  }
  return stageTree(tree, data.byteLength, blocksIn(data));
}

function openFileOf(disk: BlockDirectory, entry: Entry): BlockFile {
  const name = fileName(entry.fileNumber);
  const file = disk.open(name);
  if (file === undefined) throw corrupt(name, 'dirf.db lists it but it is missing');
  return file;
}

function openVersion(
  file: BlockFile,
  entry: Entry,
  taKey: Uint8Array,
): { readonly image: FileImage; readonly tree: HashTree } {
  const image = { name: fileName(entry.fileNumber), bytes: file.read() };
  const tree = openListed(image, taKey, entry.rootHash);
  if (tree === undefined) throw corrupt(image.name, 'is not the version that dirf.db lists');
  return { image, tree };
}
