/**
 * A tree of files: an archive unpacked beside the tree that runs, and chosen by one symbolic link.
 *
 * Order is what makes it safe: the archive is looked at as a whole before its first file is made, the
 * tree is on the disk and read back before it is recorded, and only a recorded tree is linked to.
 */
import { constants } from 'node:fs';
import { access, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

import { isOtaError, OtaError } from '../../../errors.ts';
import type { Progress, StagedInstaller } from '../../../ports.ts';
import type { Target, TrustedTarget } from '../../../uptane/plan.ts';
import { verifyImageAt } from '../../image-file.ts';
import { guarded } from '../guard.ts';
import type { ArchiveLimits } from './archive-policy.ts';
import { formatOf, inspectArchive, unpackArchive, type Archive } from './archive.ts';
import { ArchiveRefused } from './tar-entries.ts';
import { readTree, syncTree, treeDigest, type TreeEntry } from './tree.ts';
import { Versions, type Version } from './versions.ts';

export interface DirectorySettings {
  /** The symbolic link to the tree that runs. */
  readonly path: string;
  readonly limits: ArchiveLimits;
}

export class DirectoryInstaller implements StagedInstaller {
  readonly kind = 'directory';
  readonly takes = 'staged';
  readonly needsReboot = false;
  readonly #settings: DirectorySettings;
  readonly #versions: Versions;

  constructor(settings: DirectorySettings) {
    this.#settings = settings;
    this.#versions = new Versions(settings.path);
  }

  async check(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      this.#archive(target, '');
      await this.#demandWritable();
      await this.#demandSpace(target.lengthBytes);
    });
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const archive = this.#archive(target, stagedPath);
      await verifyImageAt(stagedPath, target);
      const unpacked = await this.#whole(target);
      await this.#versions.sweep(unpacked === undefined ? [] : [unpacked.name]);
      if (unpacked === undefined) await this.#unpack(target, archive, progress);
      progress(target.lengthBytes, target.lengthBytes);
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const version = await this.#whole(target);
      if (version === undefined) {
        throw new Error(`${target.filename} is not there, whole, in ${this.#versions.directory}`);
      }
      const running = await this.#running();
      if (running?.name === version.name) return;
      // What replaces a damaged tree of the same image leaves the way back to the one before it.
      await this.#versions.choose(version.name, running?.image === version.image);
    });
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    const running = await this.#running().catch(() => undefined);
    return running?.image === imageId(target) && (await this.#versions.isWhole(running));
  }

  async confirm(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, () => this.#versions.sweep([]));
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const running = await this.#running();
      if (running?.image !== imageId(target)) return;
      await this.#demandPrevious();
      await this.#versions.goBack();
    });
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return this.#guard('-', async () => {
      await this.#demandWritable();
      const link = await this.#versions.current();
      const running = await this.#running();
      const whole = running !== undefined && (await this.#versions.isWhole(running));
      return {
        path: this.#settings.path,
        link: link ?? 'none yet',
        runs: running?.filename ?? 'nothing that this agent has installed',
        content: running === undefined ? 'unknown' : whole ? 'as installed' : 'changed',
        previous: (await this.#versions.previous()) ?? 'none',
        free_bytes: String(await freeBytes(dirname(this.#settings.path))),
      };
    });
  }

  async #unpack(target: Target, archive: Archive, progress: Progress): Promise<void> {
    const foreseen = await refusing(target, () => inspectArchive(archive));
    const neededBytes = sizeOnDisk(foreseen);
    await this.#demandSpace(neededBytes);
    const contentBytes = foreseen.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const name = await this.#versions.create(imageId(target));
    const root = this.#versions.treeOf(name);
    try {
      await unpackArchive(archive, root, (doneBytes) => {
        progress(
          Math.floor((doneBytes / (contentBytes + 1)) * target.lengthBytes),
          target.lengthBytes,
        );
      });
      await syncTree(root);
      const tree = treeDigest(foreseen);
      if (treeDigest(await readTree(root)) !== tree) {
        throw new Error(`${root} reads back differently from what was unpacked: check the disk`);
      }
      await this.#versions.record(name, {
        image: imageId(target),
        filename: target.filename,
        tree,
      });
    } catch (error) {
      const free = await freeBytes(dirname(root));
      await rm(root, { recursive: true, force: true });
      throw isFull(error) ? this.#spaceMissing(Math.max(neededBytes, free + 1), free) : error;
    }
  }

  async #running(): Promise<Version | undefined> {
    return this.#versions.versionAt(await this.#versions.current());
  }

  /** The version of this image whose content is what was unpacked; the one that runs is preferred. */
  async #whole(target: Target): Promise<Version | undefined> {
    const running = await this.#running();
    const versions = await this.#versions.versionsOf(imageId(target));
    const inOrder = versions.toSorted(
      (a, b) => Number(b.name === running?.name) - Number(a.name === running?.name),
    );
    for (const version of inOrder) if (await this.#versions.isWhole(version)) return version;
    return undefined;
  }

  async #demandPrevious(): Promise<void> {
    const link = await this.#versions.previous();
    if (link === undefined || !(await this.#versions.hasPrevious())) {
      throw new Error(`there is nothing to go back to: no tree at ${this.#versions.previousPath}`);
    }
    const version = await this.#versions.versionAt(link);
    if (version !== undefined && !(await this.#versions.isWhole(version))) {
      throw new Error(
        `the tree to go back to was changed since it was unpacked: ${this.#versions.treeOf(version.name)}`,
      );
    }
  }

  async #demandWritable(): Promise<void> {
    const directory = dirname(this.#settings.path);
    if (!(await stat(directory)).isDirectory()) throw new Error(`${directory} is not a directory`);
    await access(directory, constants.W_OK);
    await this.#versions.current();
  }

  async #demandSpace(neededBytes: number): Promise<void> {
    const free = await freeBytes(dirname(this.#settings.path));
    if (neededBytes > free) throw this.#spaceMissing(neededBytes, free);
  }

  #spaceMissing(neededBytes: number, free: number): OtaError<'SPACE_INSUFFICIENT'> {
    return new OtaError('SPACE_INSUFFICIENT', {
      path: this.#versions.directory,
      neededBytes,
      freeBytes: free,
    });
  }

  #archive({ filename }: Target, path: string): Archive {
    const format = formatOf(filename);
    if (format === undefined) {
      throw new Error(
        `${filename} is not named as an archive: .tar, .tar.gz, .tgz, .tar.zst, .tzst`,
      );
    }
    return { path, format, limits: this.#settings.limits };
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}

/** Bound to the content of the archive, not to its name. */
function imageId(target: Target): string {
  const [entry] = target.hashes;
  return entry === undefined ? '' : `${entry[0]}:${entry[1]}`;
}

async function refusing<T>({ filename }: Target, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (isOtaError(error)) throw error;
    const problem = error instanceof Error ? error.message : String(error);
    const what = error instanceof ArchiveRefused ? 'is refused' : 'cannot be read';
    throw new Error(`archive ${filename} ${what}: ${problem}`, { cause: error });
  }
}

const BLOCK_BYTES = 4096;

/** What the tree takes, rounded up: whole blocks, and one for each entry itself. */
function sizeOnDisk(entries: readonly TreeEntry[]): number {
  return entries.reduce(
    (sum, { sizeBytes }) => sum + (Math.ceil(sizeBytes / BLOCK_BYTES) + 1) * BLOCK_BYTES,
    0,
  );
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

function isFull(error: unknown): boolean {
  const full = ['ENOSPC', 'EDQUOT'];
  return error instanceof Error && 'code' in error && full.includes(String(error.code));
}
