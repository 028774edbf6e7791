/** What can happen to a TUF repository between two visits of a client: good, careless and hostile. */
import { ed25519Key, renamed, tufEnvelope, type Body } from './tuf-keys.ts';
import {
  hashesOf,
  type TufDelegation,
  type TufRepository,
  type TufRole,
} from './tuf-repository.ts';

export const WANTED = 'dir/wanted';

export interface Change {
  readonly name: (typeof CHANGES)[number];
  readonly role: TufRole;
  readonly seed: number;
}

type Act = (repository: TufRepository, role: TufRole, seed: number) => void;

const PAST = '2020-01-01T00:00:00Z';

const ACTS = {
  publish: (repository) => {
    repository.publish();
  },
  target: (repository, _role, seed) => {
    repository.addTarget(WANTED, `content ${String(seed % 3)}`);
    repository.publish();
  },
  'no-target': (repository) => {
    repository.targets = {};
    repository.publish();
  },
  listing: (repository, _role, seed) => {
    repository.listing = (['version', 'length', 'hashes', 'all'] as const)[seed % 4] ?? 'all';
    repository.publish();
  },
  consistency: (repository) => {
    repository.consistentSnapshot = !repository.consistentSnapshot;
    repository.publishRoot();
    republish(repository);
  },
  delegate: (repository, _role, seed) => {
    delegate(repository, seed);
    repository.publish();
  },
  'integer-roles': (repository) => {
    const keys = [ed25519Key()];
    repository.delegations = ['z', '3'].map((name) => ({ name, keys, paths: ['dir/*'] }));
    for (const name of ['z', '3'])
      repository.addDelegated(name, { keys, version: versionOf(repository, name) });
    repository.publish();
  },
  rotate: (repository, role) => {
    repository.keys[role] = [ed25519Key(), ed25519Key()];
    repository.publishRoot();
    republish(repository);
  },
  'rotate-only': (repository, role) => {
    repository.keys[role] = [ed25519Key()];
    repository.publishRoot();
  },
  'rotate-and-reset': (repository, role) => {
    repository.keys[role] = [ed25519Key()];
    repository.publishRoot();
    repository.version.snapshot = 0;
    repository.publishSnapshotAndTimestamp();
  },
  threshold: (repository, role) => {
    repository.threshold[role] = repository.threshold[role] === 1 ? 2 : 1;
    repository.publishRoot();
    republish(repository);
  },
  'alias-key': (repository, role) => {
    const key = ed25519Key();
    repository.keys[role] = [key, renamed(key, `alias of ${key.id}`)];
    repository.threshold[role] = 2;
    repository.publishRoot();
    republish(repository);
  },
  'skip-root': (repository) => {
    repository.version.root += 1;
    repository.publishRoot();
  },
  expire: (repository, role) => {
    const before = repository.expires[role];
    repository.expires[role] = PAST;
    if (role === 'root') repository.publishRoot();
    repository.publish();
    repository.expires[role] = before;
  },
  'version-back': (repository, role) => {
    if (role === 'root') return;
    repository.version[role] = Math.max(1, repository.version[role] - 2);
    republish(repository);
  },
  'same-timestamp': (repository, _role, seed) => {
    const version = 1 + (seed % 5);
    const meta = { 'snapshot.json': { version } };
    repository.publishTimestamp((body) => ({ ...body, meta }));
  },
  'drop-role': (repository, _role, seed) => {
    const [name] = [...repository.delegated.keys()].slice(seed % 2);
    if (name === undefined) return;
    repository.delegated.delete(name);
    repository.publish();
  },
  'foreign-signature': (repository, role) => {
    const keys = repository.keys[role];
    repository.keys[role] = keys.map(({ id }) => renamed(ed25519Key(), id));
    if (role !== 'root') repository.publish();
    repository.keys[role] = keys;
  },
  unlisted: (repository, role) => {
    if (role === 'timestamp' || role === 'root') return;
    repository.publish();
    const foreign: Body = { ...parsed(repository.current(role)), 'x-late': true };
    repository.replace(role, tufEnvelope(foreign, repository.keys[role]));
  },
  'flip-byte': (repository, role, seed) => {
    tamper(repository, role, (bytes) => {
      const at = seed % bytes.byteLength;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes;
    });
  },
  truncate: (repository, role) => {
    tamper(repository, role, (bytes) => bytes.subarray(0, -3));
  },
  'name-twice': (repository) => {
    repository.publish();
    const text = Buffer.from(repository.current('timestamp')).toString();
    repository.replace('timestamp', Buffer.from(text.replace('{', '{"signatures":[],')));
  },
  'relist-hash': (repository) => {
    repository.version.timestamp += 1;
    const version = repository.version.snapshot;
    const meta = { 'snapshot.json': { version, hashes: hashesOf('other bytes') } };
    repository.publishTimestamp((body) => ({ ...body, meta }));
  },
  gone: (repository, role, seed) => {
    const names = [...repository.served.keys()].filter((name) => name.includes(role));
    if (role === 'root') return;
    repository.served.delete(names[seed % names.length] ?? '');
  },
  repair: (repository) => {
    republish(repository);
    repository.publish();
  },
} satisfies Record<string, Act>;

export const CHANGES = Object.keys(ACTS) as readonly (keyof typeof ACTS)[];

export function change(repository: TufRepository, { name, role, seed }: Change): void {
  const act: Act = ACTS[name];
  act(repository, role, seed);
}

/** All files once more, as the keys and versions are now. */
function republish(repository: TufRepository): void {
  repository.publishTargets();
  repository.publishSnapshotAndTimestamp();
}

function tamper(
  repository: TufRepository,
  role: TufRole,
  edit: (bytes: Uint8Array) => Uint8Array,
): void {
  if (repository.serves(role)) {
    repository.replace(role, edit(Uint8Array.from(repository.current(role))));
  }
}

/** A few roles, who delegates to whom by chance; one of them may have the target. */
function delegate(repository: TufRepository, seed: number): void {
  const names = ['a', 'b', 'c', 'd'].slice(0, 1 + (seed % 4));
  const bits = (at: number, count: number): number => (seed >> at) % count;
  const specs = names.map((name, index): TufDelegation => {
    const keys = [ed25519Key()];
    const paths = bits(index, 3) === 0 ? ['other/*'] : ['dir/*'];
    return { name, keys, paths, terminating: bits(index + 2, 4) === 0 };
  });
  repository.delegations = specs.slice(0, 1 + bits(3, names.length));
  for (const [index, { name, keys }] of specs.entries()) {
    const below = specs.filter((_, other) => (seed >> (other + index)) % 2 === 1);
    repository.addDelegated(name, {
      keys,
      delegations: below,
      version: versionOf(repository, name),
    });
    if (bits(index, 2) === 0) repository.addTarget(WANTED, `content of ${name}`, name);
  }
}

function versionOf(repository: TufRepository, name: string): number {
  return (repository.delegated.get(name)?.version ?? 0) + 1;
}

function parsed(bytes: Uint8Array): Body {
  try {
    return (JSON.parse(Buffer.from(bytes).toString()) as { signed: Body }).signed;
  } catch {
    return {};
  }
}
