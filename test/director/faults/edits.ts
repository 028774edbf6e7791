/** What an attacker changes in one payload; each edit also raises the version, so that it passes for new. */
import { isMap, type JsonMap } from '../json/canonical-json.ts';
import { parseJson, JsonReader } from '../json/read-json.ts';
import type { RootOfTrust } from '../metadata/repository-keys.ts';

export type Edit = (payload: JsonMap) => JsonMap;

const LONG_AGO = '2020-01-01T00:00:00Z';

/** Edits every entry of `targets`. */
export function eachTarget(edit: (entry: JsonMap, filename: string) => JsonMap): Edit {
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

export function eachEcu(edit: (ecu: JsonMap) => JsonMap): Edit {
  return eachTarget((entry) => {
    const custom = map(entry, 'custom');
    const ecus = Object.entries(map(custom, 'ecuIdentifiers')).map(([serial, ecu]) => [
      serial,
      isMap(ecu) ? { ...ecu, ...edit(ecu) } : ecu,
    ]);
    return { ...entry, custom: { ...custom, ecuIdentifiers: Object.fromEntries(ecus) as JsonMap } };
  });
}

export function withEcu(entry: JsonMap, serial: string): JsonMap {
  const custom = map(entry, 'custom');
  const ecus = map(custom, 'ecuIdentifiers');
  const hardware = Object.values(ecus)[0] ?? { hardwareId: serial };
  return { ...entry, custom: { ...custom, ecuIdentifiers: { ...ecus, [serial]: hardware } } };
}

export function repeatTargets(payload: JsonMap): JsonMap {
  const targets = Object.entries(map(payload, 'targets'));
  const again = targets.map(([filename, entry]) => [`again-${filename}`, entry]);
  return { ...raise(payload), targets: Object.fromEntries([...targets, ...again]) as JsonMap };
}

/** Every image under another name. */
export function rename(prefix: string): Edit {
  return (payload) => {
    const targets = Object.entries(map(payload, 'targets'));
    const renamed = targets.map(([filename, entry]) => [`${prefix}${filename}`, entry]);
    return { ...raise(payload), targets: Object.fromEntries(renamed) as JsonMap };
  };
}

export function delegate(trust: RootOfTrust): Edit {
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

/** A snapshot that no longer lists a file. */
export function unlist(file: string): Edit {
  return (payload) => {
    const left = Object.entries(map(payload, 'meta')).filter(([name]) => name !== file);
    return { ...raise(payload), meta: Object.fromEntries(left) };
  };
}

/** As if one more bit of the image had been different: still well-formed, still signed. */
export function otherHashes(entry: JsonMap): JsonMap {
  const hashes = Object.entries(map(entry, 'hashes')).map(([algorithm, hex]) => [
    algorithm,
    typeof hex === 'string' ? `${hex.startsWith('0') ? '1' : '0'}${hex.slice(1)}` : hex,
  ]);
  return { ...entry, hashes: Object.fromEntries(hashes) as JsonMap };
}

export function expire(payload: JsonMap): JsonMap {
  return { ...raise(payload), expires: LONG_AGO };
}

export function raise(payload: JsonMap): JsonMap {
  return { ...payload, version: Number(payload['version']) + 1 };
}

export function payloadOf(envelope: string): JsonMap {
  const payload = new JsonReader(parseJson(envelope)).raw('signed');
  return isMap(payload) ? payload : {};
}

export function map(value: JsonMap, name: string): JsonMap {
  const member = value[name];
  return isMap(member) ? member : {};
}
