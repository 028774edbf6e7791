/**
 * The Media port: sticks and directories with offline updates, in the layout of PURE-2 and Torizon.
 *
 * metadata/director/{N.root,offline-snapshot,LOCKBOX}.json
 * metadata/image-repo/{N.root,snapshot,targets,ROLE}.json
 * images/SHA256
 *
 * Whoever made the medium may have put anything there: links, pipes and devices are no files here, and
 * nothing is read beyond what was asked for.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

import { causeOf, OtaError, type Repo } from '../errors.ts';
import type { Media, Repositories } from '../ports.ts';
import { downloadOf, type TrustedTarget } from '../uptane/plan.ts';
import type { Answer } from '../uptane/verify.ts';
import { DIRECTOR_FOLDER, fingerprintOf, MAX_NAMES, namesIn } from './medium-fingerprint.ts';

const FOLDERS: Readonly<Record<Repo, string>> = {
  director: DIRECTOR_FOLDER,
  image: 'image-repo',
};
/** What may be a lockbox; what it says has to be listed in signed metadata under this name. */
const LOCKBOX = /^(?<name>[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,49})\.json$/u;
const NO_LOCKBOX = /^(?:(?:\d+\.)?root|offline-snapshot|snapshot|targets|timestamp)\.json$/u;
const MAX_LOCKBOXES = 64;
/** As verification asks for it: no name in it leaves the directory. */
const FILE = /^(?:delegations\/)?(?<name>[a-zA-Z0-9_%-][a-zA-Z0-9_.%-]*\.json)$/u;
const CHUNK_BYTES = 1024 * 1024;
/** Without the last, opening a pipe would wait for somebody to write to it. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export function openMedia(): Media {
  return {
    lockboxes: lockboxesAt,
    open: (source) => new Medium(source),
    demandImages: async (source, targets) => {
      for (const target of targets) await demandImage(source, target);
    },
    fingerprint: fingerprintOf,
  };
}

class Medium implements Repositories {
  readonly #source: string;

  constructor(source: string) {
    this.#source = source;
  }

  async fetchMetadata(repo: Repo, file: string, maxBytes: number): Promise<Answer> {
    const name = FILE.exec(file)?.groups?.['name'];
    if (name === undefined) throw new OtaError('BUG', { what: `${file} asked of a medium` });
    const path = join(this.#source, 'metadata', FOLDERS[repo], name);
    const handle = await opened(path);
    if (handle === undefined) return undefined;
    try {
      const bytes = await readUpTo(handle, maxBytes + 1);
      if (bytes.byteLength <= maxBytes) return bytes;
    } catch (error) {
      throw failed(path, error);
    } finally {
      await handle.close();
    }
    throw new OtaError('METADATA_TOO_LARGE', { repo, file, maxBytes });
  }

  async *openImage(target: TrustedTarget, offsetBytes: number): AsyncGenerator<Uint8Array> {
    const path = imagePath(this.#source, target);
    const handle = await openImageAt(path, target);
    try {
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
      for (let position = offsetBytes; ;) {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
        if (bytesRead === 0) return;
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } catch (error) {
      throw failed(path, error);
    } finally {
      await handle.close();
    }
  }

  /** There is no other place. */
  distrust(): void {
    return undefined;
  }
}

async function lockboxesAt(source: string): Promise<readonly string[]> {
  const path = join(source, 'metadata', FOLDERS.director);
  const files = await namesIn(path).catch((error: unknown) => {
    if (codeOf(error) === 'EIO') throw failed(path, error);
    const remedy = 'name the directory that has metadata/ and images/, as it is mounted';
    const details = { path, what: 'an offline update', cause: causeOf(error), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause: error });
  });
  if (files === undefined) {
    const cause = `more than ${String(MAX_NAMES)} files, and no more are looked at`;
    throw new OtaError('MEDIUM_FAILED', { path, cause });
  }
  const names = files
    .filter((file) => !NO_LOCKBOX.test(file))
    .flatMap((file) => LOCKBOX.exec(file)?.groups?.['name'] ?? []);
  if (names.length <= MAX_LOCKBOXES) return names.sort();
  const cause = `${String(names.length)} updates, of which ${String(MAX_LOCKBOXES)} are looked at`;
  throw new OtaError('MEDIUM_FAILED', { path, cause });
}

async function demandImage(source: string, target: TrustedTarget): Promise<void> {
  const path = imagePath(source, target);
  const handle = await openImageAt(path, target);
  try {
    const { size } = await handle.stat();
    const { lengthBytes, filename } = downloadOf(target);
    if (size === lengthBytes) return;
    const cause = `${String(size)} bytes, and ${String(lengthBytes)} are signed`;
    throw new OtaError('DOWNLOAD_FAILED', { filename, url: path, cause });
  } finally {
    await handle.close();
  }
}

/** Named by the hash of what lies there: of an encrypted image the cipher text. */
function imagePath(source: string, target: TrustedTarget): string {
  const { hashes } = downloadOf(target);
  return join(source, 'images', hashes.get('sha256') ?? hashes.get('sha512') ?? '');
}

async function openImageAt(path: string, { filename }: TrustedTarget): Promise<FileHandle> {
  const handle = await opened(path);
  if (handle !== undefined) return handle;
  const cause = 'the medium does not have it';
  throw new OtaError('DOWNLOAD_FAILED', { filename, url: path, cause });
}

/** @returns `undefined` if there is none */
async function opened(path: string): Promise<FileHandle | undefined> {
  const handle = await open(path, FLAGS).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw failed(path, error);
  });
  if (handle === undefined) return undefined;
  const isFile = await handle.stat().then(
    (found) => found.isFile(),
    () => false,
  );
  if (isFile) return handle;
  await handle.close();
  throw failed(path, new Error('not a regular file'));
}

async function readUpTo(handle: FileHandle, maxBytes: number): Promise<Uint8Array> {
  const { size } = await handle.stat();
  const buffer = Buffer.alloc(Math.min(size, maxBytes));
  let read = 0;
  while (read < buffer.length) {
    const { bytesRead } = await handle.read(buffer, read, buffer.length - read, read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return buffer.subarray(0, read);
}

function failed(path: string, cause: unknown): OtaError<'MEDIUM_FAILED'> {
  return new OtaError('MEDIUM_FAILED', { path, cause: causeOf(cause) }, { cause });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
