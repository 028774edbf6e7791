/** The trees beside each other, what is recorded of each, and the links that choose among them. */
import {
  access,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { replaceFile } from '../../durable-file.ts';
import { syncDirectory } from '../../image-file.ts';
import { readTree, treeDigest } from './tree.ts';

/** What was proven of a tree when it was unpacked. */
export interface TreeRecord {
  /** Digest of the archive, `sha256:HEX`. */
  readonly image: string;
  readonly filename: string;
  /** Of `treeDigest`. */
  readonly tree: string;
}

/** A tree that the agent has unpacked and proven. */
export interface Version extends TreeRecord {
  /** Of its directory. */
  readonly name: string;
}

/** `PATH` and `PATH.previous` are links to directories in `PATH.versions`. */
export class Versions {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  get directory(): string {
    return `${this.#path}.versions`;
  }

  get previousPath(): string {
    return `${this.#path}.previous`;
  }

  treeOf(name: string): string {
    return join(this.directory, name);
  }

  /** What the link points to; `undefined` where nothing is. */
  async current(): Promise<string | undefined> {
    return linkText(this.#path);
  }

  async previous(): Promise<string | undefined> {
    return linkText(this.previousPath);
  }

  /** The version that `PATH` points to; `undefined` where that is none of ours. */
  async running(): Promise<Version | undefined> {
    return this.versionAt(await this.current());
  }

  /** The version of this image whose content is what was unpacked; the one that runs is preferred. */
  async whole(image: string): Promise<Version | undefined> {
    const running = await this.running();
    const inOrder = (await this.versionsOf(image)).toSorted(
      (a, b) => Number(b.name === running?.name) - Number(a.name === running?.name),
    );
    for (const version of inOrder) if (await this.isWhole(version)) return version;
    return undefined;
  }

  /** @throws Error if there is no tree to go back to, or not the one that was unpacked */
  async demandPrevious(): Promise<void> {
    const link = await this.previous();
    if (link === undefined || !(await this.hasPrevious())) {
      throw new Error(`there is nothing to go back to: no tree at ${this.previousPath}`);
    }
    const version = await this.versionAt(link);
    if (version !== undefined && !(await this.isWhole(version))) {
      const tree = this.treeOf(version.name);
      throw new Error(`the tree to go back to was changed since it was unpacked: ${tree}`);
    }
  }

  /** The version that a link points to; `undefined` for what is none of ours. */
  async versionAt(link: string | undefined): Promise<Version | undefined> {
    if (link === undefined || link !== this.#linkTo(basename(link))) return undefined;
    return this.#record(basename(link));
  }

  /** Every version of the image, the one unpacked last first. */
  async versionsOf(image: string): Promise<readonly Version[]> {
    const found = await Promise.all((await this.#names()).map((name) => this.#record(name)));
    return found
      .filter((version) => version?.image === image)
      .filter((version) => version !== undefined)
      .toSorted((a, b) => numberOf(b.name) - numberOf(a.name));
  }

  /** Is every file of it what was unpacked? */
  async isWhole({ name, tree }: Version): Promise<boolean> {
    try {
      return treeDigest(await readTree(this.treeOf(name))) === tree;
    } catch {
      return false;
    }
  }

  /** An empty directory for a tree of `image`, under a name that was not in use. */
  async create(image: string): Promise<string> {
    const made = await mkdir(this.directory, { recursive: true, mode: 0o755 });
    if (made !== undefined) await syncDirectory(dirname(this.directory));
    const last = Math.max(0, ...(await this.#names()).map(numberOf));
    const name = `${image.replace(/^sha\d+:/u, '').slice(0, 16)}-${String(last + 1)}`;
    await mkdir(this.treeOf(name), { mode: 0o755 });
    return name;
  }

  /** From now on the tree is a version; it and its content have to be on the disk. */
  async record(name: string, record: TreeRecord): Promise<void> {
    await replaceFile(this.#recordPath(name), `${JSON.stringify(record)}\n`, 0o644);
  }

  /** Removes what neither link points to, but for `kept`. */
  async sweep(kept: readonly string[]): Promise<void> {
    const linked = [await this.current(), await this.previous()];
    const inUse = new Set([...kept, ...linked.map((link) => basename(link ?? ''))]);
    for (const entry of await readdir(this.directory).catch(() => [])) {
      if (inUse.has(entry.replace(/\.json(?:\.new)?$/u, ''))) continue;
      await rm(join(this.directory, entry), { recursive: true, force: true });
    }
  }

  /** Points `PATH` to the version; what it pointed to is kept as the previous one. */
  async choose(name: string, keepPrevious: boolean): Promise<void> {
    const before = await this.current();
    if (before !== undefined && !keepPrevious) await this.#point(this.previousPath, before);
    await this.#point(this.#path, this.#linkTo(name));
  }

  /** Points `PATH` to the previous one again. */
  async goBack(): Promise<void> {
    await rename(this.previousPath, this.#path);
    await syncDirectory(dirname(this.#path));
  }

  /** Does the previous link lead anywhere? */
  async hasPrevious(): Promise<boolean> {
    const leads = await access(join(this.previousPath, '.')).then(
      () => true,
      () => false,
    );
    return leads;
  }

  /** Atomic: whoever opens `path` finds the old or the new one. */
  async #point(path: string, link: string): Promise<void> {
    const temporary = `${path}.new`;
    await rm(temporary, { force: true });
    await symlink(link, temporary);
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  }

  #linkTo(name: string): string {
    return `${basename(this.directory)}/${name}`;
  }

  #recordPath(name: string): string {
    return join(this.directory, `${name}.json`);
  }

  async #names(): Promise<readonly string[]> {
    const entries = await readdir(this.directory).catch(() => []);
    return entries.filter((name) => VERSION_NAME.test(name));
  }

  /** A tree without a record was never whole. */
  async #record(name: string): Promise<Version | undefined> {
    if (!VERSION_NAME.test(name)) return undefined;
    const text = await readFile(this.#recordPath(name), 'utf8').catch(() => '{}');
    const record = parseRecord(text);
    return record && { ...record, name };
  }
}

const VERSION_NAME = /^[0-9a-f]+-\d+$/u;

function numberOf(name: string): number {
  return Number(name.slice(name.indexOf('-') + 1));
}

function parseRecord(text: string): TreeRecord | undefined {
  try {
    const { image, filename, tree } = JSON.parse(text) as Partial<Record<string, unknown>>;
    const isRecord = [image, filename, tree].every((value) => typeof value === 'string');
    return isRecord ? ({ image, filename, tree } as TreeRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** @throws Error if something else than a link is there: it would have to be moved away first */
async function linkText(path: string): Promise<string | undefined> {
  const found = await lstat(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return undefined;
  if (found.isSymbolicLink()) return readlink(path);
  throw new Error(
    `${path} is no symbolic link: move what is there to ${path}.factory, and make ${path} a link to it`,
  );
}
