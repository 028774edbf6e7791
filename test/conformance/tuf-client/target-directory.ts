/** Where downloaded targets lie, each under its percent-encoded name, as other TUF clients do it. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { OtaError } from '../../../agent/errors.ts';
import type { TargetFile } from '../../../agent/uptane/metadata.ts';
import { percentEncoded } from '../../../agent/uptane/names.ts';
import { fetchTarget } from './web.ts';

export class TargetDirectory {
  readonly path: string;
  readonly #url: string;

  constructor(path: string, url: string) {
    this.path = path;
    this.#url = url;
  }

  /**
   * Downloads a target, unless it is there already with the right bytes.
   *
   * @param served - what the repository serves it as
   * @throws if length or any hash differs; then nothing of it is left
   */
  async receive(filename: string, served: string, file: TargetFile): Promise<void> {
    const segments = filename.split('/');
    if (filename === '' || segments.includes('.') || segments.includes('..')) {
      throw new OtaError('TARGET_NAME_UNSAFE', { filename, problem: 'a relative segment' });
    }
    const path = join(this.path, percentEncoded(filename));
    if (await isThere(path, filename, file)) return;
    const temporary = `${path}.part`;
    try {
      await this.#download(temporary, { filename, served, file });
      await rename(temporary, path);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async #download(
    path: string,
    { filename, served, file }: { filename: string; served: string; file: TargetFile },
  ): Promise<void> {
    const urlPath = served.split('/').map(percentEncoded).join('/');
    const digests = digestsFor(file);
    const handle = await open(path, 'w');
    let receivedBytes = 0;
    try {
      for await (const chunk of fetchTarget(this.#url, urlPath, file.lengthBytes)) {
        receivedBytes += chunk.byteLength;
        for (const digest of digests.values()) digest.update(chunk);
        await handle.writeFile(chunk);
      }
    } finally {
      await handle.close();
    }
    verifyTarget(filename, file, receivedBytes, digests);
  }
}

async function isThere(path: string, filename: string, file: TargetFile): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true || found.size !== file.lengthBytes) return false;
  const digests = digestsFor(file);
  for await (const chunk of createReadStream(path)) {
    for (const digest of digests.values()) digest.update(chunk as Buffer);
  }
  try {
    verifyTarget(filename, file, found.size, digests);
    return true;
  } catch {
    return false;
  }
}

function digestsFor({ hashes }: TargetFile): ReadonlyMap<string, Hash> {
  return new Map([...hashes.keys()].map((algorithm) => [algorithm, createHash(algorithm)]));
}

function verifyTarget(
  filename: string,
  { lengthBytes, hashes }: TargetFile,
  receivedBytes: number,
  digests: ReadonlyMap<string, Hash>,
): void {
  if (receivedBytes !== lengthBytes) {
    throw new OtaError('IMAGE_TRUNCATED', { filename, lengthBytes, receivedBytes });
  }
  for (const [algorithm, signed] of hashes) {
    const computed = digests.get(algorithm)?.digest('hex') ?? '';
    if (computed === signed) continue;
    throw new OtaError('IMAGE_HASH_MISMATCH', { filename, algorithm, signed, computed });
  }
}
