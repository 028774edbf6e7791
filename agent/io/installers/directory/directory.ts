/**
 * A tree of files: an archive unpacked beside the tree that runs, and chosen by one symbolic link.
 *
 * Order is what makes it safe: the archive is looked at as a whole before its first file is made, the
 * tree is on the disk and read back before it is recorded, and only a recorded tree is linked to.
 */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { Progress, StagedInstaller } from '../../../ports.ts';
import type { Target, TrustedTarget } from '../../../uptane/plan.ts';
import { verifyImageAt } from '../../image-file.ts';
import { demandKind, guarded } from '../guard.ts';
import type { ArchiveLimits } from './archive-policy.ts';
import { formatOf, type Archive } from './archive.ts';
import { demandSpace, freeAt, fromArchive, imageId, makeVersion } from './unpack-version.ts';
import { Versions } from './versions.ts';

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
    demandKind('bytes', target, this.kind);
    await this.#guard(target.ecu, async () => {
      this.#archive(target, '');
      await this.#demandWritable();
      await demandSpace(this.#versions, target.lengthBytes);
    });
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const archive = this.#archive(target, stagedPath);
      await verifyImageAt(stagedPath, target);
      const unpacked = await this.#versions.whole(imageId(target));
      await this.#versions.sweep(unpacked === undefined ? [] : [unpacked.name]);
      if (unpacked === undefined) {
        const making = await fromArchive(target, archive, progress);
        await makeVersion(target, this.#versions, making);
      }
      progress(target.lengthBytes, target.lengthBytes);
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const version = await this.#versions.whole(imageId(target));
      if (version === undefined) {
        throw new Error(`${target.filename} is not there, whole, in ${this.#versions.directory}`);
      }
      const running = await this.#versions.running();
      if (running?.name === version.name) return;
      // What replaces a damaged tree of the same image leaves the way back to the one before it.
      await this.#versions.choose(version.name, running?.image === version.image);
    });
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    const running = await this.#versions.running().catch(() => undefined);
    return running?.image === imageId(target) && (await this.#versions.isWhole(running));
  }

  async confirm(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, () => this.#versions.sweep([]));
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      const running = await this.#versions.running();
      if (running?.image !== imageId(target)) return;
      await this.#versions.demandPrevious();
      await this.#versions.goBack();
    });
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    return this.#guard('-', async () => {
      await this.#demandWritable();
      const link = await this.#versions.current();
      const running = await this.#versions.running();
      const whole = running !== undefined && (await this.#versions.isWhole(running));
      return {
        path: this.#settings.path,
        link: link ?? 'none yet',
        runs: running?.filename ?? 'nothing that this agent has installed',
        content: running === undefined ? 'unknown' : whole ? 'as installed' : 'changed',
        previous: (await this.#versions.previous()) ?? 'none',
        free_bytes: String(await freeAt(dirname(this.#settings.path))),
      };
    });
  }

  async #demandWritable(): Promise<void> {
    const directory = dirname(this.#settings.path);
    if (!(await stat(directory)).isDirectory()) throw new Error(`${directory} is not a directory`);
    await access(directory, constants.W_OK);
    await this.#versions.current();
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
