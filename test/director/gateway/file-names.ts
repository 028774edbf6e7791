/** Which file of a set is meant by the name that a client asks for. */
import { map, payloadOf } from '../faults/edits.ts';
import type { Served } from '../faults/forgery.ts';
import type { MetadataSet } from '../metadata/metadata-set.ts';

const UPTANE_DELEGATED = /^delegations\/(?<role>[^/]+)\.json$/u;
const UPTANE_FILE =
  /^(?:(?<version>[1-9]\d{0,8})\.)?(?<role>root|targets|snapshot|timestamp)\.json$/u;
const TUF_FILE = /^(?:(?<version>[1-9]\d{0,15})\.)?(?<role>[^/]+)\.json$/u;

/** The field asks for what is newest; only roots have numbers. */
export function uptaneFile({ roots, set }: Served, name: string): string | undefined {
  const delegated = UPTANE_DELEGATED.exec(name)?.groups?.['role'];
  if (delegated !== undefined) return delegatedFile(set, delegated);
  const { version, role } = UPTANE_FILE.exec(name)?.groups ?? {};
  if (role === 'root') return roots.at(version === undefined ? -1 : Number(version) - 1);
  if (version !== undefined) return undefined;
  return role === 'targets' || role === 'snapshot' || role === 'timestamp' ? set[role] : undefined;
}

/**
 * TUF specification 1.0 §6.2: everything but the timestamp has its version in its name.
 *
 * The version is the listed one, not that of the file: a fault may serve another under its name.
 */
export function tufFile({ roots, set }: Served, name: string): string | undefined {
  const { version, role = '' } = TUF_FILE.exec(name)?.groups ?? {};
  if (role === 'timestamp') return version === undefined ? set.timestamp : undefined;
  if (version === undefined) return undefined;
  if (role === 'root') return roots[Number(version) - 1];
  const listing = role === 'snapshot' ? set.timestamp : set.snapshot;
  if (listedVersion(listing, role) !== Number(version)) return undefined;
  return role === 'snapshot' || role === 'targets' ? set[role] : delegatedFile(set, role);
}

/** Which version of `role` a timestamp or snapshot lists. */
export function listedVersion(listing: string, role: string): unknown {
  return map(map(payloadOf(listing), 'meta'), `${role}.json`)['version'];
}

function delegatedFile({ delegations }: MetadataSet, role: string): string | undefined {
  return Object.hasOwn(delegations, role) ? delegations[role] : undefined;
}
