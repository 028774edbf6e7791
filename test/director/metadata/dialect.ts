/**
 * The two forms in which a repository can write the same metadata.
 *
 * `uptane` is what aktualizr's servers write. `tuf` is TUF 1.0: lower-case types with a `spec_version`,
 * keys with a `scheme`, signatures in hex over the OLPC canonical form, consistent snapshots.
 */
import { createPrivateKey } from 'node:crypto';

import { isMap, type Json, type JsonMap } from '../json/canonical-json.ts';
import { signEnvelope, signPayload, type KeyPair } from '../signing.ts';

export const DIALECTS = ['uptane', 'tuf'] as const;
export type Dialect = (typeof DIALECTS)[number];

const SPEC_VERSION = '1.0.31';

/** A metadata file of a repository that speaks `dialect`. */
export function signFile(dialect: Dialect, payload: JsonMap, keys: readonly KeyPair[]): string {
  // State of before there was a choice says nothing.
  if (dialect !== 'tuf') return signEnvelope(payload, keys);
  const signed = inTuf(payload);
  const covered = Buffer.from(olpcJson(signed));
  const signatures = keys.map(({ id, privatePem }) => ({
    keyid: id,
    sig: signPayload(covered, createPrivateKey(privatePem)).toString('hex'),
  }));
  return JSON.stringify({ signatures, signed });
}

/** Changes nothing that is in TUF's form already: faults edit what was served and sign it again. */
function inTuf(payload: JsonMap): JsonMap {
  const type = lowerCase(payload['_type']);
  const signed: Record<string, Json> = { ...payload, _type: type, spec_version: SPEC_VERSION };
  const { keys, meta, delegations } = payload;
  if (type === 'root') signed['consistent_snapshot'] = true;
  if (type === 'root' && isMap(keys)) signed['keys'] = keysInTuf(keys);
  if (type === 'targets' && isMap(delegations)) {
    const { keys: delegated } = delegations;
    if (isMap(delegated)) signed['delegations'] = { ...delegations, keys: keysInTuf(delegated) };
  }
  // TUF 1.0 lists no root there.
  if (type === 'snapshot' && isMap(meta)) {
    signed['meta'] = Object.fromEntries(
      Object.entries(meta).filter(([name]) => name !== 'root.json'),
    );
  }
  return signed;
}

function keysInTuf(keys: JsonMap): JsonMap {
  return Object.fromEntries(
    Object.entries(keys).map(([id, key]) => [id, isMap(key) ? keyInTuf(key) : key]),
  );
}

function keyInTuf(key: JsonMap): JsonMap {
  const keytype = lowerCase(key['keytype']);
  const scheme = keytype === 'rsa' ? 'rsassa-pss-sha256' : keytype;
  return { ...key, keytype, scheme };
}

function lowerCase(value: Json | undefined): string {
  return typeof value === 'string' ? value.toLowerCase() : '';
}

/** TUF specification §4.2.1: in strings only quotation marks and backslashes are escaped. */
function olpcJson(value: Json): string {
  if (typeof value === 'string') return `"${value.replaceAll(/["\\]/gu, '\\$&')}"`;
  if (Array.isArray(value)) return `[${value.map(olpcJson).join(',')}]`;
  if (!isMap(value)) return JSON.stringify(value);
  const members = Object.entries(value)
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([name, member]) => `${olpcJson(name)}:${olpcJson(member)}`);
  return `{${members.join(',')}}`;
}
