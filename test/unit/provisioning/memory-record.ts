import type { Repo } from '../../../agent/errors.ts';
import type { ProvisioningRecord } from '../../../provisioning/record.ts';

/** A record in memory, with everything that was ever written to it, in order. */
export class MemoryRecord implements ProvisioningRecord {
  readonly values = new Map<string, string>();
  readonly roots = new Map<Repo, Uint8Array>();
  /** By `REPO/ROLE`. */
  readonly pinned = new Map<string, Uint8Array>();
  readonly writes: string[] = [];

  get(name: string): Promise<string | undefined> {
    return Promise.resolve(this.values.get(name));
  }

  put(name: string, value: string): Promise<void> {
    this.writes.push(`${name}=${value}`);
    this.values.set(name, value);
    return Promise.resolve();
  }

  hasRoot(repo: Repo): Promise<boolean> {
    return Promise.resolve(this.roots.has(repo));
  }

  pin(repo: Repo, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
    for (const [role, bytes] of files) {
      this.writes.push(`${role} ${repo}`);
      this.pinned.set(`${repo}/${role}`, bytes);
      if (role === 'root') this.roots.set(repo, bytes);
    }
    return Promise.resolve();
  }
}
