/** A TUF repository for tests: every number, key and date in it can be set, every file replaced. */
import { createHash } from 'node:crypto';

import { ed25519Key, keysObject, tufEnvelope, type Body, type TufKey } from './tuf-keys.ts';

export type TufRole = 'root' | 'timestamp' | 'snapshot' | 'targets';

export interface TufDelegation {
  readonly name: string;
  readonly keys: readonly TufKey[];
  readonly threshold?: number;
  readonly terminating?: boolean;
  readonly paths?: readonly string[];
  readonly path_hash_prefixes?: readonly string[];
  readonly hardwareIds?: readonly string[];
}

/** A delegated Targets role, as it is published next. */
export interface TufDelegated {
  keys: readonly TufKey[];
  version: number;
  expires: string;
  targets: Record<string, Body>;
  delegations: readonly TufDelegation[];
}

type Edit = (body: Body) => Body;
const asIs: Edit = (body) => body;

export const FUTURE = '2037-12-31T23:59:59Z';
const SPEC_VERSION = '1.0.31';

export class TufRepository {
  /** Metadata by the name it is served under, before percent-encoding. */
  readonly served = new Map<string, Uint8Array>();
  /** Target files by the path they are served under, before percent-encoding. */
  readonly files = new Map<string, Uint8Array>();
  readonly version: Record<TufRole, number> = { root: 0, timestamp: 0, snapshot: 0, targets: 0 };
  readonly expires: Record<TufRole, string> = {
    root: FUTURE,
    timestamp: FUTURE,
    snapshot: FUTURE,
    targets: FUTURE,
  };
  readonly keys: Record<TufRole, readonly TufKey[]>;
  readonly threshold: Record<TufRole, number> = { root: 1, timestamp: 1, snapshot: 1, targets: 1 };
  targets: Record<string, Body> = {};
  delegations: readonly TufDelegation[] = [];
  readonly delegated = new Map<string, TufDelegated>();
  consistentSnapshot = true;
  /** What Timestamp and Snapshot say beside the version. */
  listing: 'version' | 'length' | 'hashes' | 'all' = 'version';
  #lastRootKeys: readonly TufKey[] = [];

  /** @param newKey - makes the keys, one per role */
  constructor(newKey: () => TufKey = ed25519Key, consistentSnapshot = true) {
    const keys = (): readonly TufKey[] => [newKey()];
    this.keys = { root: keys(), timestamp: keys(), snapshot: keys(), targets: keys() };
    this.consistentSnapshot = consistentSnapshot;
    this.publishRoot();
    this.publish();
  }

  /** The next version of everything but Root and delegated roles. */
  publish(): void {
    this.version.targets += 1;
    this.publishTargets();
    this.publishSnapshotAndTimestamp();
  }

  publishSnapshotAndTimestamp(): void {
    this.version.snapshot += 1;
    this.publishSnapshot();
    this.version.timestamp += 1;
    this.publishTimestamp();
  }

  /**
   * The next root, signed by the keys of this one and of the one before it.
   *
   * @param signers - instead of those
   */
  publishRoot(edit: Edit = asIs, signers?: readonly TufKey[]): void {
    this.version.root += 1;
    const roles = Object.fromEntries(
      Object.entries(this.keys).map(([role, keys]) => [
        role,
        { keyids: keys.map(({ id }) => id), threshold: this.threshold[role as TufRole] },
      ]),
    );
    const keys = keysObject(Object.values(this.keys).flat());
    const more = { keys, roles, consistent_snapshot: this.consistentSnapshot };
    const body = edit({ ...this.#common('root'), ...more });
    const both = new Set([...this.#lastRootKeys, ...this.keys.root]);
    const file = `${String(this.version.root)}.root.json`;
    this.served.set(file, tufEnvelope(body, signers ?? [...both]));
    this.#lastRootKeys = this.keys.root;
  }

  publishTargets(edit: Edit = asIs): void {
    const delegations =
      this.delegations.length === 0 ? {} : { delegations: delegationsObject(this.delegations) };
    const body = edit({ ...this.#common('targets'), targets: this.targets, ...delegations });
    this.#serve('targets', this.version.targets, tufEnvelope(body, this.keys.targets));
    for (const name of this.delegated.keys()) this.publishDelegated(name);
  }

  publishDelegated(name: string, edit: Edit = asIs): void {
    const { version, expires, targets, delegations, keys } = this.role(name);
    const head = { _type: 'targets', spec_version: SPEC_VERSION, version, expires };
    const body = edit({ ...head, targets, delegations: delegationsObject(delegations) });
    this.#serve(name, version, tufEnvelope(body, keys));
  }

  /** Lists whatever is served as Targets at the moment. */
  publishSnapshot(edit: Edit = asIs): void {
    const meta: Record<string, Body> = {
      'targets.json': this.#listing('targets', this.version.targets),
    };
    for (const [name, { version }] of this.delegated) {
      meta[`${name}.json`] = this.#listing(name, version);
    }
    const body = edit({ ...this.#common('snapshot'), meta });
    this.#serve('snapshot', this.version.snapshot, tufEnvelope(body, this.keys.snapshot));
  }

  /** Lists whatever is served as Snapshot at the moment. */
  publishTimestamp(edit: Edit = asIs): void {
    const meta = { 'snapshot.json': this.#listing('snapshot', this.version.snapshot) };
    const body = edit({ ...this.#common('timestamp'), meta });
    this.served.set('timestamp.json', tufEnvelope(body, this.keys.timestamp));
  }

  /** Adds a delegated role that one of `delegations`, here or in another role, names. */
  addDelegated(name: string, file: Partial<TufDelegated> & Pick<TufDelegated, 'keys'>): void {
    const empty = { version: 1, expires: FUTURE, targets: {}, delegations: [] };
    this.delegated.set(name, { ...empty, ...file });
  }

  /** A target in `role` and its file; published with the next Targets. */
  addTarget(path: string, content: string, role = 'targets', custom?: Body): void {
    const target = { ...targetInfo(content), ...(custom === undefined ? {} : { custom }) };
    if (role === 'targets') this.targets = { ...this.targets, [path]: target };
    else this.role(role).targets[path] = target;
    const bytes = Buffer.from(content);
    const slash = path.lastIndexOf('/') + 1;
    const [directory, name] = [path.slice(0, slash), path.slice(slash)];
    const prefixes = this.consistentSnapshot ? Object.values(target.hashes) : [];
    for (const hash of prefixes) this.files.set(`${directory}${hash}.${name}`, bytes);
    if (!this.consistentSnapshot) this.files.set(path, bytes);
  }

  role(name: string): TufDelegated {
    const role = this.delegated.get(name);
    if (role === undefined) throw new Error(`no delegated role ${name}`);
    return role;
  }

  serves(name: string): boolean {
    return this.served.has(this.#file(name, this.#versionOf(name)));
  }

  /** What is served as the newest version of a role. */
  current(name: string): Uint8Array {
    const bytes = this.served.get(this.#file(name, this.#versionOf(name)));
    if (bytes === undefined) throw new Error(`${name} is not served`);
    return bytes;
  }

  /** Serves something else as the newest version of a role. */
  replace(name: string, bytes: Uint8Array): void {
    this.served.set(this.#file(name, this.#versionOf(name)), bytes);
  }

  #versionOf(name: string): number {
    return name in this.version ? this.version[name as TufRole] : this.role(name).version;
  }

  #serve(name: string, version: number, bytes: Uint8Array): void {
    this.served.set(this.#file(name, version), bytes);
  }

  #file(name: string, version: number): string {
    const versioned = name === 'root' || (this.consistentSnapshot && name !== 'timestamp');
    return versioned ? `${String(version)}.${name}.json` : `${name}.json`;
  }

  #common(role: TufRole): Body {
    const [version, expires] = [this.version[role], this.expires[role]];
    return { _type: role, spec_version: SPEC_VERSION, version, expires };
  }

  #listing(name: string, version: number): Body {
    const bytes = this.served.get(this.#file(name, version));
    if (bytes === undefined || this.listing === 'version') return { version };
    const length = this.listing === 'hashes' ? {} : { length: bytes.byteLength };
    const hashes = this.listing === 'length' ? {} : { hashes: hashesOf(bytes) };
    return { version, ...length, ...hashes };
  }
}

export function delegationsObject(delegations: readonly TufDelegation[]): Body {
  return {
    keys: keysObject(delegations.flatMap(({ keys }) => keys)),
    roles: delegations.map(({ keys, ...role }) => ({
      threshold: 1,
      terminating: false,
      ...role,
      keyids: keys.map(({ id }) => id),
    })),
  };
}

export function hashesOf(content: Uint8Array | string): { sha256: string; sha512: string } {
  return {
    sha256: createHash('sha256').update(content).digest('hex'),
    sha512: createHash('sha512').update(content).digest('hex'),
  };
}

function targetInfo(content: string): { length: number; hashes: Record<string, string> } {
  return { length: Buffer.byteLength(content), hashes: { ...hashesOf(content) } };
}
