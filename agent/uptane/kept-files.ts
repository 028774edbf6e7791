/** What was kept of one repository's metadata in earlier runs, parsed when it is needed. */
import { OtaError, isOtaError, type Repo } from '../errors.ts';
import type { Common, File } from './metadata.ts';

const REMEDY = 'restore the trusted metadata or provision the device again';

export class KeptFiles {
  readonly #repo: Repo;
  readonly #bytes: Map<string, Uint8Array>;
  readonly #parsed = new Map<string, File<Common>>();

  /** @param trusted - everything kept before, by `REPO/ROLE` */
  constructor(repo: Repo, trusted: ReadonlyMap<string, Uint8Array>) {
    this.#repo = repo;
    const prefix = `${repo}/`;
    this.#bytes = new Map(
      [...trusted]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, bytes]) => [name.slice(prefix.length), bytes]),
    );
  }

  has(role: string): boolean {
    return this.#bytes.has(role);
  }

  holds(role: string, bytes: Uint8Array): boolean {
    const kept = this.#bytes.get(role);
    return kept !== undefined && Buffer.compare(kept, bytes) === 0;
  }

  /** From now on this is the file that is kept for a role. */
  replace(role: string, file: File<Common>): void {
    this.#bytes.set(role, file.bytes);
    this.#parsed.set(role, file);
  }

  /** @returns whether there was one */
  forget(role: string): boolean {
    return this.#bytes.delete(role);
  }

  /**
   * A file as it was kept. It was checked then; here it is only read.
   *
   * @throws OtaError STORAGE_CORRUPT
   */
  read<Body extends Common>(
    role: string,
    parse: (bytes: Uint8Array) => File<Body>,
  ): File<Body> | undefined {
    const bytes = this.#bytes.get(role);
    if (bytes === undefined) return undefined;
    const known = this.#parsed.get(role);
    if (known?.bytes === bytes) return known as File<Body>;
    const file = this.#reading(role, () => parse(bytes));
    this.#parsed.set(role, file);
    return file;
  }

  /**
   * A file without which nothing can be believed.
   *
   * @throws OtaError STORAGE_CORRUPT
   */
  require<T>(role: string, read: (bytes: Uint8Array) => T): T {
    const bytes = this.#bytes.get(role);
    if (bytes === undefined) throw this.#corrupt(role, 'missing');
    return this.#reading(role, () => read(bytes));
  }

  /** Damage on our own disk must not look like an attack, nor pass as "nothing was trusted". */
  #reading<T>(role: string, read: () => T): T {
    try {
      return read();
    } catch (cause) {
      if (!isOtaError(cause)) throw cause;
      throw this.#corrupt(role, cause.message, cause);
    }
  }

  #corrupt(role: string, what: string, cause?: Error): OtaError<'STORAGE_CORRUPT'> {
    const details = { path: `${this.#repo}/${role}`, cause: what, remedy: REMEDY };
    return new OtaError('STORAGE_CORRUPT', details, { cause });
  }
}
