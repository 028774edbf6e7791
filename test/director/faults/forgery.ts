/**
 * Metadata as an attacker who holds keys would send it: each fault edits one honest set.
 *
 * Everything above an edited file is listed and signed anew, so that the edit itself is the only
 * thing a client can find wrong.
 */
import { isMap, type JsonMap } from '../json/canonical-json.ts';
import type { FaultName } from '../faults.ts';
import { ENCRYPTION_SPOILERS, withEncryption, type EncryptionForge } from './encryption.ts';
import {
  snapshotMeta,
  timestampMeta,
  type IssuedSet,
  type MetadataSet,
} from '../metadata/metadata-set.ts';
import { parseJson, JsonReader } from '../json/read-json.ts';
import { expiryText, forgeRoot, type RootOfTrust } from '../metadata/repository-keys.ts';
import { signFile } from '../metadata/dialect.ts';
import type { KeyType } from '../signing.ts';

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
type Edit = (payload: JsonMap) => JsonMap;
interface Edits {
  readonly targets?: Edit;
  readonly snapshot?: Edit;
  readonly timestamp?: Edit;
  /** Replaces whole files before anything is listed. */
  readonly set?: Partial<MetadataSet>;
  /** Spoils the signatures of these files. */
  readonly spoil?: readonly Level[];
}

const LONG_AGO = '2020-01-01T00:00:00Z';
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
  'targets-rollback': rollBackTargets,
  'director-targets-rollback': rollBackTargets,
  'expired-timestamp': edited({ timestamp: expire }),
  'director-expired-timestamp': edited({ timestamp: expire }),
  'expired-targets': edited({ targets: expire }),
  'director-expired-targets': edited({ targets: expire }),
  'wrong-hardware-id': (served, forge) =>
    reissue(served, forge, { targets: eachEcu(() => ({ hardwareId: text(forge, 'hardwareId') })) }),
  'unknown-ecu': (served, forge) =>
    reissue(served, forge, {
      targets: eachTarget((entry) => withEcu(entry, text(forge, 'serial'))),
    }),
  'director-repeats-ecu': edited({ targets: repeatTargets }),
  'director-delegates': (served, forge) => reissue(served, forge, { targets: delegate(forge) }),
  'wrong-vehicle-id': (served, forge) =>
    reissue(served, forge, {
      targets: (payload) => ({
        ...raise(payload),
        custom: { ...map(payload, 'custom'), vehicleId: text(forge, 'vehicleId') },
      }),
    }),
  'image-hash-mismatch': edited({ targets: eachTarget(otherHashes) }),
  ...encryptionForgers(),
  'signature-invalid': spoilSignatures,
  'root-not-signed-by-old': appendForgedRoot,
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
  const repo = text(forge, 'repo');
  if (repo !== '' && repo !== forge.repo) return served;
  const role = text(forge, 'role');
  const all: readonly Level[] = ['targets', 'snapshot', 'timestamp'];
  const spoil = all.filter((level) => role === '' || role === level);
  return reissue(served, forge, { targets: raise, spoil });
}

function appendForgedRoot(served: Served, forge: Forge): Served {
  const repo = text(forge, 'repo');
  if (repo !== '' && repo !== forge.repo) return served;
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
  return { ...served, set: { ...before, targets, snapshot, timestamp } };
}

function eachTarget(edit: (entry: JsonMap, filename: string) => JsonMap): Edit {
  return (payload) => ({
    ...raise(payload),
    targets: Object.fromEntries(
      Object.entries(map(payload, 'targets')).map(([filename, entry]) => [
        filename,
        isMap(entry) ? edit(entry, filename) : entry,
      ]),
    ),
  });
}

function eachEcu(edit: (ecu: JsonMap) => JsonMap): Edit {
  return eachTarget((entry) => {
    const custom = map(entry, 'custom');
    const ecus = Object.entries(map(custom, 'ecuIdentifiers')).map(([serial, ecu]) => [
      serial,
      isMap(ecu) ? { ...ecu, ...edit(ecu) } : ecu,
    ]);
    return { ...entry, custom: { ...custom, ecuIdentifiers: Object.fromEntries(ecus) as JsonMap } };
  });
}

function withEcu(entry: JsonMap, serial: string): JsonMap {
  const custom = map(entry, 'custom');
  const ecus = map(custom, 'ecuIdentifiers');
  const hardware = Object.values(ecus)[0] ?? { hardwareId: serial };
  return { ...entry, custom: { ...custom, ecuIdentifiers: { ...ecus, [serial]: hardware } } };
}

function repeatTargets(payload: JsonMap): JsonMap {
  const targets = Object.entries(map(payload, 'targets'));
  const again = targets.map(([filename, entry]) => [`again-${filename}`, entry]);
  return { ...raise(payload), targets: Object.fromEntries([...targets, ...again]) as JsonMap };
}

function delegate({ trust }: Forge): Edit {
  const [key] = trust.keys.targets.keys;
  const role = {
    keyids: [key?.id ?? ''],
    name: 'anyone',
    paths: ['*'],
    terminating: false,
    threshold: 1,
  };
  return (payload) => ({ ...raise(payload), delegations: { keys: {}, roles: [role] } });
}

/** As if one more bit of the image had been different: still well-formed, still signed. */
function otherHashes(entry: JsonMap): JsonMap {
  const hashes = Object.entries(map(entry, 'hashes')).map(([algorithm, hex]) => [
    algorithm,
    typeof hex === 'string' ? `${hex.startsWith('0') ? '1' : '0'}${hex.slice(1)}` : hex,
  ]);
  return { ...entry, hashes: Object.fromEntries(hashes) as JsonMap };
}

function expire(payload: JsonMap): JsonMap {
  return { ...raise(payload), expires: LONG_AGO };
}

function raise(payload: JsonMap): JsonMap {
  return { ...payload, version: Number(payload['version']) + 1 };
}

function spoiled(envelope: string): string {
  return envelope.replaceAll(
    /"sig":"(?<first>.)/gu,
    (_match, first: string) => `"sig":"${/^a$/iu.test(first) ? 'B' : 'A'}`,
  );
}

function payloadOf(envelope: string): JsonMap {
  const payload = new JsonReader(parseJson(envelope)).raw('signed');
  return isMap(payload) ? payload : {};
}

export function versionOf(envelope: string): number {
  return Number(payloadOf(envelope)['version']);
}

function map(value: JsonMap, name: string): JsonMap {
  const member = value[name];
  return isMap(member) ? member : {};
}

function text({ parameters }: Forge, name: string): string {
  return String(parameters[name] ?? '');
}
