/** One file, replaced atomically; the one before is kept beside it. */
import { copyFile, link, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import type { Progress, StagedInstaller } from '../../ports.ts';
import type { TrustedTarget } from '../../uptane/plan.ts';
import { syncDirectory, verifyImageAt } from '../image-file.ts';
import { guarded, refuseCompressed } from './guard.ts';

export class FileInstaller implements StagedInstaller {
  readonly kind = 'file';
  readonly takes = 'staged';
  readonly needsReboot = false;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async check(target: TrustedTarget): Promise<void> {
    refuseCompressed({ installer: this.kind, ecu: target.ecu }, target);
    await this.#guard(target.ecu, async () => {
      const directory = await stat(dirname(this.#path));
      if (!directory.isDirectory()) throw new Error(`${dirname(this.#path)} is not a directory`);
    });
  }

  async write(target: TrustedTarget, stagedPath: string, progress: Progress): Promise<void> {
    await this.#guard(target.ecu, async () => {
      await copyFile(stagedPath, this.#next);
      const handle = await open(this.#next, 'r');
      await handle.sync().finally(() => handle.close());
      await verifyImageAt(this.#next, target);
      progress(target.lengthBytes, target.lengthBytes);
    });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      // Done before a power cut: `next` is gone because it has become the file itself.
      if (!(await exists(this.#next)) && (await this.booted(target))) return;
      await verifyImageAt(this.#next, target);
      if (await exists(this.#path)) {
        await rm(this.#previous, { force: true });
        await link(this.#path, this.#previous);
      }
      await rename(this.#next, this.#path);
      await syncDirectory(dirname(this.#path));
    });
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    try {
      await verifyImageAt(this.#path, target);
      return true;
    } catch {
      return false;
    }
  }

  confirm(): Promise<void> {
    return Promise.resolve();
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#guard(target.ecu, async () => {
      await rm(this.#next, { force: true });
      if (!(await this.booted(target))) return;
      if (!(await exists(this.#previous))) throw new Error(`no ${this.#previous} to go back to`);
      await rename(this.#previous, this.#path);
      await syncDirectory(dirname(this.#path));
    });
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    const previous = (await exists(this.#previous)) ? this.#previous : 'none';
    return { path: this.#path, installed: String(await exists(this.#path)), previous };
  }

  get #next(): string {
    return `${this.#path}.next`;
  }

  get #previous(): string {
    return `${this.#path}.previous`;
  }

  #guard<T>(ecu: string, act: () => Promise<T>): Promise<T> {
    return guarded({ installer: this.kind, ecu }, act);
  }
}

async function exists(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined;
}
