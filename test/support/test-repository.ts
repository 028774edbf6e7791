/** One repository for tests: every number, key and date in it can be set, every file replaced. */
import {
  delegationsObject,
  ed25519,
  envelope,
  FUTURE,
  hashesOf,
  keysObject,
  type Body,
  type DelegatedFile,
  type DelegationSpec,
  type Key,
  type MultiRoleSpec,
  type Role,
} from './build-metadata.ts';

type Edit = (body: Body) => Body;
const asIs: Edit = (body) => body;

export class TestRepository {
  /** What is served now, by file name. */
  readonly served = new Map<string, Uint8Array>();
  readonly version: Record<Role, number> = { root: 0, timestamp: 0, snapshot: 0, targets: 0 };
  readonly expires: Record<Role, string> = {
    root: FUTURE,
    timestamp: FUTURE,
    snapshot: FUTURE,
    targets: FUTURE,
  };
  readonly keys: Record<Role, readonly Key[]>;
  readonly threshold: Record<Role, number> = { root: 1, timestamp: 1, snapshot: 1, targets: 1 };
  targets: Record<string, Body> = {};
  custom: Body | undefined;
  delegations: readonly (DelegationSpec | MultiRoleSpec)[] = [];
  readonly delegated = new Map<string, DelegatedFile>();
  /** Keys that are in the root for no role. */
  unusedKeys: Body = {};
  #lastRootKeys: readonly Key[] = [];

  /** @param newKey - makes the keys, one per role */
  constructor(newKey: () => Key = ed25519) {
    const keys = (): readonly Key[] => [newKey()];
    this.keys = { root: keys(), timestamp: keys(), snapshot: keys(), targets: keys() };
    this.publishRoot();
  }

  /** The next version of everything but Root. */
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
  publishRoot(edit: Edit = asIs, signers?: readonly Key[]): void {
    this.version.root += 1;
    const roles = Object.fromEntries(
      Object.entries(this.keys).map(([role, keys]) => [
        role,
        { keyids: keys.map(({ id }) => id), threshold: this.threshold[role as Role] },
      ]),
    );
    const keys = { ...keysObject(Object.values(this.keys).flat()), ...this.unusedKeys };
    const body = edit({ _type: 'Root', ...this.#common('root'), keys, roles });
    const both = new Set([...this.#lastRootKeys, ...this.keys.root]);
    this.served.set(`${String(this.version.root)}.root.json`, envelope(body, signers ?? [...both]));
    this.#lastRootKeys = this.keys.root;
  }

  publishTargets(edit: Edit = asIs): void {
    const body = {
      _type: 'Targets',
      ...this.#common('targets'),
      targets: this.targets,
      ...(this.custom === undefined ? {} : { custom: this.custom }),
      ...(this.delegations.length === 0
        ? {}
        : { delegations: delegationsObject(this.delegations) }),
    };
    this.served.set('targets.json', envelope(edit(body), this.keys.targets));
    for (const name of this.delegated.keys()) this.publishDelegated(name);
  }

  publishDelegated(name: string, edit: Edit = asIs): void {
    const file = this.delegated.get(name);
    if (file === undefined) throw new Error(`no delegated role ${name}`);
    const { version, expires, targets, delegations, keys } = file;
    const body = {
      _type: 'Targets',
      version,
      expires,
      targets,
      delegations: delegationsObject(delegations),
    };
    this.served.set(`delegations/${name}.json`, envelope(edit(body), keys));
  }

  /** Lists whatever is served as Targets at the moment. */
  publishSnapshot(edit: Edit = asIs): void {
    const meta: Record<string, Body> = {
      'root.json': { version: this.version.root },
      'targets.json': this.#listing('targets.json', this.version.targets),
    };
    for (const [name, { version }] of this.delegated) {
      meta[`${name}.json`] = this.#listing(`delegations/${name}.json`, version);
    }
    const body = edit({ _type: 'Snapshot', ...this.#common('snapshot'), meta });
    this.served.set('snapshot.json', envelope(body, this.keys.snapshot));
  }

  /** Lists whatever is served as Snapshot at the moment. */
  publishTimestamp(edit: Edit = asIs): void {
    const meta = { 'snapshot.json': this.#listing('snapshot.json', this.version.snapshot) };
    const body = edit({ _type: 'Timestamp', ...this.#common('timestamp'), meta });
    this.served.set('timestamp.json', envelope(body, this.keys.timestamp));
  }

  /** Adds a delegated role that one of `delegations`, here or in another role, names. */
  addDelegated(name: string, file: Partial<DelegatedFile> & Pick<DelegatedFile, 'keys'>): void {
    const empty = { version: 1, expires: FUTURE, targets: {}, delegations: [] };
    this.delegated.set(name, { ...empty, ...file });
  }

  file(name: string): Uint8Array {
    const bytes = this.served.get(name);
    if (bytes === undefined) throw new Error(`${name} is not served`);
    return bytes;
  }

  #common(role: Role): Body {
    return { version: this.version[role], expires: this.expires[role] };
  }

  #listing(file: string, version: number): Body {
    const bytes = this.served.get(file);
    if (bytes === undefined) return { version };
    return { version, length: bytes.byteLength, hashes: hashesOf(bytes) };
  }
}
