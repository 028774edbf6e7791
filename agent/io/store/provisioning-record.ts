/** What provisioning remembers, kept in the same database as everything else. */
import type { Repo } from '../../errors.ts';
import type { SqliteStore } from './store.ts';

/** Implements what `provisioning/record.ts` asks for. */
export class StoredRecord {
  readonly #store: SqliteStore;

  constructor(store: SqliteStore) {
    this.#store = store;
  }

  get(name: string): Promise<string | undefined> {
    return this.#store.fact(factName(name));
  }

  put(name: string, value: string): Promise<void> {
    return this.#store.saveFact(factName(name), value);
  }

  async hasRoot(repo: Repo): Promise<boolean> {
    const trusted = await this.#store.loadTrusted();
    return trusted.has(`${repo}/root`);
  }

  pin(repo: Repo, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const changes = [...files].map(
      ([role, bytes]) => ({ need: 'keep', repo, role, bytes }) as const,
    );
    return this.#store.keep(changes);
  }
}

function factName(name: string): string {
  return name.replaceAll('-', '_');
}
