/**
 * Metadata as an attacker who holds keys would send it: each fault edits one honest set.
 *
 * Everything above an edited file is listed and signed anew, so that the edit itself is the only
 * thing a client can find wrong.
 */
import type { JsonMap } from '../json/canonical-json.ts';
import type { FaultName } from '../faults.ts';
import { ENCRYPTION_SPOILERS, withEncryption, type EncryptionForge } from './encryption.ts';
import { signFile } from '../metadata/dialect.ts';
import {
  snapshotMeta,
  timestampMeta,
  type IssuedSet,
  type MetadataSet,
} from '../metadata/metadata-set.ts';
import { expiryText, forgeRoot, type RootOfTrust } from '../metadata/repository-keys.ts';
import type { KeyType } from '../signing.ts';
import {
  delegate,
  eachEcu,
  eachTarget,
  expire,
  map,
  otherHashes,
  payloadOf,
  raise,
  rename,
  repeatTargets,
  unlist,
  withEcu,
  type Edit,
} from './edits.ts';

export type Repo = 'director' | 'image';

/** What one device is served by one repository. */
export interface Served {
  readonly roots: readonly string[];
  readonly set: MetadataSet;
}

export interface Forge extends EncryptionForge {
  readonly repo: Repo;
  readonly trust: RootOfTrust;
  readonly issued: IssuedSet;
  readonly keyType: KeyType;
}

type Level = 'targets' | 'snapshot' | 'timestamp';
interface Edits {
  readonly targets?: Edit;
  readonly snapshot?: Edit;
  readonly timestamp?: Edit;
  /** Replaces whole files before anything is listed. */
  readonly set?: Partial<MetadataSet>;
  /** Spoils the signatures of these files. */
  readonly spoil?: readonly Level[];
  /** Serves this file as it was, under the new one's name, and blanks to the length that is listed. */
  readonly stale?: Level;
}

const TEN_YEARS_SECONDS = 315_360_000;

type Forger = (served: Served, forge: Forge) => Served;

/** Applies one metadata fault. Faults of other stages leave the set as it is. */
export function forgeMetadata(name: FaultName, served: Served, forge: Forge): Served {
  return FORGERS[name]?.(served, forge) ?? served;
}

const FORGERS: Readonly<Partial<Record<FaultName, Forger>>> = {
  'timestamp-rollback': rollBackTimestamp,
  'director-timestamp-rollback': rollBackTimestamp,
  'snapshot-rollback': rollBackSnapshot,
  'director-snapshot-rollback': rollBackSnapshot,
  'targets-rollback': rollBackTargets,
  'director-targets-rollback': rollBackTargets,
  'expired-timestamp': edited({ timestamp: expire }),
  'director-expired-timestamp': edited({ timestamp: expire }),
  'expired-snapshot': edited({ snapshot: expire }),
  'director-expired-snapshot': edited({ snapshot: expire }),
  'expired-targets': edited({ targets: expire }),
  'director-expired-targets': edited({ targets: expire }),
  'mixed-snapshot': edited({ snapshot: raise, stale: 'snapshot' }),
  'director-mixed-snapshot': edited({ snapshot: raise, stale: 'snapshot' }),
  'mixed-targets': edited({ targets: raise, stale: 'targets' }),
  'director-mixed-targets': edited({ targets: raise, stale: 'targets' }),
  'wrong-hardware-id': (served, forge) =>
    reissue(served, forge, { targets: eachEcu(() => ({ hardwareId: text(forge, 'hardwareId') })) }),
  'unknown-ecu': (served, forge) =>
    reissue(served, forge, {
      targets: eachTarget((entry) => withEcu(entry, text(forge, 'serial'))),
    }),
  'director-repeats-ecu': edited({ targets: repeatTargets }),
  'director-delegates': (served, forge) =>
    reissue(served, forge, { targets: delegate(forge.trust) }),
  'wrong-vehicle-id': (served, forge) =>
    reissue(served, forge, {
      targets: (payload) => ({
        ...raise(payload),
        custom: { ...map(payload, 'custom'), vehicleId: text(forge, 'vehicleId') },
        targets: {},
      }),
    }),
  'image-hash-mismatch': edited({ targets: eachTarget(otherHashes) }),
  ...encryptionForgers(),
  'image-unlisted': renamed,
  'unsafe-filename': renamed,
  'signature-invalid': ofRepo(spoilSignatures),
  'wrong-type': ofRepo((served, forge) => {
    const { _type = '' } = payloadOf(served.set.targets);
    return reissue(served, forge, { snapshot: (payload) => ({ ...raise(payload), _type }) });
  }),
  'snapshot-drops-file': ofRepo((served, forge) =>
    reissue(served, forge, { snapshot: unlist(text(forge, 'file')) }),
  ),
  'root-not-signed-by-old': ofRepo(appendForgedRoot),
  'root-repeated': ofRepo((served) => ({
    ...served,
    roots: [...served.roots, ...served.roots.slice(-1)],
  })),
};

/** What the Director says of encryption, and the cipher text with it. */
function encryptionForgers(): Partial<Record<FaultName, Forger>> {
  const forgers = Object.entries(ENCRYPTION_SPOILERS).map(([name, spoil]) => {
    const forger: Forger = (served, forge) =>
      reissue(served, forge, {
        targets: eachTarget((entry) => withEncryption(entry, spoil, forge)),
      });
    return [name, forger];
  });
  return Object.fromEntries(forgers) as Partial<Record<FaultName, Forger>>;
}

/** Faults of either repository; the parameter `repo` narrows them to one. */
function ofRepo(forger: Forger): Forger {
  return (served, forge) => {
    const repo = text(forge, 'repo');
    return repo === '' || repo === forge.repo ? forger(served, forge) : served;
  };
}

function renamed(served: Served, forge: Forge): Served {
  return reissue(served, forge, { targets: rename(text(forge, 'prefix')) });
}

function edited(edits: Edits): Forger {
  return (served, forge) => reissue(served, forge, edits);
}

function rollBackTimestamp(served: Served, forge: Forge): Served {
  const older = forge.issued.versions.timestamp - 1;
  if (older < 1) return served;
  return reissue(served, forge, { timestamp: (payload) => ({ ...payload, version: older }) });
}

function rollBackSnapshot(served: Served, forge: Forge): Served {
  const { previous } = forge.issued;
  if (previous === undefined) return served;
  const { targets, delegations } = previous;
  return reissue(served, forge, {
    set: { targets, delegations },
    snapshot: ({ expires = '' }) => ({ ...payloadOf(previous.snapshot), expires }),
  });
}

function rollBackTargets(served: Served, forge: Forge): Served {
  const { previousTargets } = forge.issued;
  if (previousTargets === undefined) return served;
  return reissue(served, forge, {
    targets: ({ expires = '' }) => ({ ...payloadOf(previousTargets), expires }),
  });
}

function spoilSignatures(served: Served, forge: Forge): Served {
  const role = text(forge, 'role');
  const all: readonly Level[] = ['targets', 'snapshot', 'timestamp'];
  const spoil = all.filter((level) => role === '' || role === level);
  return reissue(served, forge, { targets: raise, spoil });
}

function appendForgedRoot(served: Served, forge: Forge): Served {
  const expires = expiryText(Date.now(), TEN_YEARS_SECONDS);
  return { ...served, roots: [...served.roots, forgeRoot(forge.trust, forge.keyType, expires)] };
}

/** Signs what was edited and everything that lists it, one version higher unless the edit says else. */
function reissue(served: Served, { trust, issued }: Forge, edits: Edits): Served {
  const before = { ...served.set, ...edits.set };
  const sign = (level: Level, payload: JsonMap): string => {
    const envelope = signFile(trust.dialect, payload, trust.keys[level].keys);
    return edits.spoil?.includes(level) === true ? spoiled(envelope) : envelope;
  };
  const targets =
    edits.targets === undefined
      ? before.targets
      : sign('targets', edits.targets(payloadOf(before.targets)));
  const relist: Edit = (payload) => ({
    ...raise(payload),
    meta: snapshotMeta({
      targets,
      delegations: before.delegations,
      versions: { ...issued.versions, targets: versionOf(targets) },
      rootVersion: issued.rootVersion,
    }),
  });
  const editSnapshot = edits.snapshot ?? (edits.targets === undefined ? undefined : relist);
  const snapshot =
    editSnapshot === undefined
      ? before.snapshot
      : sign('snapshot', editSnapshot(payloadOf(before.snapshot)));
  const relistSnapshot: Edit = (payload) => ({
    ...raise(payload),
    meta: timestampMeta(snapshot, versionOf(snapshot)),
  });
  const editTimestamp = edits.timestamp ?? relistSnapshot;
  const timestamp = sign('timestamp', editTimestamp(payloadOf(before.timestamp)));
  const set = { ...before, targets, snapshot, timestamp };
  const { stale } = edits;
  if (stale === undefined) return { ...served, set };
  const text = served.set[stale].padEnd(set[stale].length, ' ');
  return { ...served, set: { ...set, [stale]: text } };
}

function spoiled(envelope: string): string {
  return envelope.replaceAll(
    /"sig":"(?<first>.)/gu,
    // Both are digits of Base64 and of hex.
    (_match, first: string) => `"sig":"${first === '0' ? '1' : '0'}`,
  );
}

export function versionOf(envelope: string): number {
  return Number(payloadOf(envelope)['version']);
}

function text({ parameters }: Forge, name: string): string {
  return String(parameters[name] ?? '');
}
