/** Secrets as files that services read: in memory, for this user alone, each replaced whole. */
import { lstat, mkdir, readdir, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { causeOf, OtaError } from '../../errors.ts';

/** `f_type` of file systems that are memory (statfs(2)). */
const IN_MEMORY = new Map([
  [0x0102_1994, 'tmpfs'],
  [0x8584_58f6, 'ramfs'],
]);
const OTHERS = 0o077;
const BESIDE = '.new';

export class SecretFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Makes what is in the directory exactly `secrets`.
   *
   * @returns the names of what is new, other than before, or gone
   * @throws OtaError SECRETS_PLACE if the directory is not in memory, or not this user's alone
   */
  async replace(secrets: ReadonlyMap<string, Uint8Array>): Promise<readonly string[]> {
    await this.#demandPlace();
    try {
      const changed: string[] = [];
      for (const [name, content] of secrets) {
        if (await this.#write(name, content)) changed.push(name);
      }
      return [...changed, ...(await this.#removeOthers(secrets))].sort();
    } catch (error) {
      throw this.#unsafe(causeOf(error), 'make room there, or set secrets.directory', error);
    }
  }

  async #write(name: string, content: Uint8Array): Promise<boolean> {
    const path = join(this.#directory, name);
    const before = await readFile(path).catch(() => undefined);
    const isSame = before?.equals(content) === true;
    before?.fill(0);
    if (isSame) return false;
    await rm(path + BESIDE, { force: true });
    await writeFile(path + BESIDE, content, { mode: 0o400, flag: 'wx' });
    await rename(path + BESIDE, path);
    return true;
  }

  /** What the Director no longer sends is taken away. */
  async #removeOthers(secrets: ReadonlyMap<string, Uint8Array>): Promise<readonly string[]> {
    const names = await readdir(this.#directory);
    const others = names.filter((name) => !secrets.has(name));
    for (const name of others) await rm(join(this.#directory, name), { force: true });
    return others.filter((name) => !name.endsWith(BESIDE));
  }

  async #demandPlace(): Promise<void> {
    try {
      await mkdir(this.#directory, { mode: 0o700 });
    } catch (error) {
      if (!isThere(error)) {
        throw this.#unsafe(causeOf(error), 'make the directory above it for this user', error);
      }
    }
    const found = await lstat(this.#directory);
    if (!found.isDirectory()) throw this.#unsafe('it is not a directory', 'remove it');
    if ((found.mode & OTHERS) !== 0 || found.uid !== process.geteuid?.()) {
      const mode = (found.mode & 0o777).toString(8).padStart(4, '0');
      const problem = `others may use it: mode ${mode}, owner ${String(found.uid)}`;
      throw this.#unsafe(problem, 'make it mode 0700 and this user’s own, or remove it');
    }
    const { type } = await statfs(this.#directory);
    if (IN_MEMORY.has(type)) return;
    const remedy = 'set secrets.directory to a place below /run, where a tmpfs is mounted';
    throw this.#unsafe('it is on a disk: what was there once can be read again', remedy);
  }

  #unsafe(problem: string, remedy: string, cause?: unknown): OtaError<'SECRETS_PLACE'> {
    return new OtaError('SECRETS_PLACE', { path: this.#directory, problem, remedy }, { cause });
  }
}

function isThere(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST';
}
