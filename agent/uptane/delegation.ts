/**
 * One entry of `delegations`: whom it names, for which files, and on what terms.
 *
 * Three forms: one role; several roles that have to agree (TAP 3); bins named by the digest of the
 * filename (TAP 15). `delegation-search.ts` decides in which order they are asked.
 *
 * Source: Uptane Standard 2.1 §5.2.3.2; TUF specification §4.5; TAP 3; TAP 15.
 */
import { malformed, type Fields } from '../decode.ts';
import { digest } from './canonical.ts';
import { matchesPath } from './glob.ts';
import type { Authority } from './keys.ts';
import { verifyHardwareId } from './names.ts';

export interface Delegation {
  /** One; of a multi-role delegation all, in the order listed. */
  readonly roles: readonly DelegatedRole[];
  /** How many of `roles` have to say the same of a file; `undefined` where there is but one to ask. */
  readonly minRolesInAgreement: number | undefined;
  readonly paths: readonly string[];
  /** Of the SHA-256 digest of a filename, in hex; where there are any, there are no `paths`. */
  readonly pathHashPrefixes: readonly string[];
  readonly terminating: boolean;
  /** Only for ECUs of these hardware ids; `undefined` for all. */
  readonly hardwareIds: readonly string[] | undefined;
}

/** A role that somebody delegates to, and the keys that count on this way to it. */
export interface DelegatedRole {
  /** Of bins: what their names begin with. */
  readonly name: string;
  readonly authority: Authority;
  /** How many leading bits of the filename's digest number the bin; `undefined` for a role by itself. */
  readonly binBits: number | undefined;
}

export interface Wanted {
  readonly filename: string;
  /** `undefined` outside of Uptane: a plain TUF client has no hardware. */
  readonly hardwareId: string | undefined;
}

/** What a format decides about an entry. */
export interface EntryRules {
  /** @throws OtaError METADATA_MALFORMED */
  verifyName(name: string, path: string): void;
  /** @throws OtaError METADATA_MALFORMED */
  readAuthority(role: Fields): Authority;
}

/** Filenames have 254 characters at most: a pattern of more is made to cost time. */
const MAX_PATTERN_LENGTH = 1024;
/** In one file. What they cost is bounded with their number: some seconds, where all are hostile. */
const MAX_PATTERNS = 8192;
/** Hash bins of the largest repository there is (PEP 458). */
const MAX_DELEGATIONS = 16_384;
/** In one file: four digits of a hash have a quarter of these. */
const MAX_PREFIXES = 262_144;
/** What TAP 15 allows. */
const MAX_BIN_BITS = 32;
const HEX_BITS = 4;

/**
 * Reads `delegations.roles`: each entry a role, or several with `min_roles_in_agreement`.
 *
 * @throws OtaError METADATA_MALFORMED
 */
export function readDelegations(delegations: Fields, rules: EntryRules): readonly Delegation[] {
  const entries = delegationEntries(delegations);
  const bounded = (field: string, most: number): void => {
    const inAll = entries.reduce(
      (sum, entry) => sum + (entry.has(field) ? entry.count(field) : 0),
      0,
    );
    if (inAll > most)
      throw malformed(delegations.at('roles'), `at most ${String(most)} ${field} in all`);
  };
  bounded('paths', MAX_PATTERNS);
  bounded('path_hash_prefixes', MAX_PREFIXES);
  return entries.map((entry) => readDelegation(entry, rules));
}

/** @throws OtaError METADATA_MALFORMED for more delegations than any repository has */
export function delegationEntries(delegations: Fields): readonly Fields[] {
  if (delegations.count('roles') > MAX_DELEGATIONS) {
    throw malformed(delegations.at('roles'), `at most ${String(MAX_DELEGATIONS)} delegations`);
  }
  return delegations.objects('roles');
}

/**
 * Reads `delegations.succinct_roles`: bins for all files, each of them terminating.
 *
 * @throws OtaError METADATA_MALFORMED
 */
export function readBins(entry: Fields, rules: EntryRules): Delegation {
  const name = entry.string('name_prefix');
  const binBits = entry.integer('bit_length', 1);
  if (binBits > MAX_BIN_BITS) {
    throw malformed(entry.at('bit_length'), `at most ${String(MAX_BIN_BITS)}`);
  }
  const bins = { name, authority: rules.readAuthority(entry), binBits };
  rules.verifyName(binOf(name, binBits, ''), entry.at('name_prefix'));
  return {
    roles: [bins],
    minRolesInAgreement: undefined,
    paths: [],
    pathHashPrefixes: [''],
    terminating: true,
    hardwareIds: undefined,
  };
}

/** Is a delegation about this file, and about the hardware it is for? */
export function applies(delegation: Delegation, { filename, hardwareId }: Wanted): boolean {
  const { hardwareIds, paths, pathHashPrefixes } = delegation;
  // An image wanted for no hardware in particular is only looked for where none is demanded.
  if (hardwareIds !== undefined && (hardwareId === undefined || !hardwareIds.includes(hardwareId)))
    return false;
  if (paths.some((pattern) => matchesPath(pattern, filename))) return true;
  if (pathHashPrefixes.length === 0) return false;
  const pathHash = pathDigest(filename);
  return pathHashPrefixes.some((prefix) => pathHash.startsWith(prefix));
}

/** What a role is called where this file is looked for. */
export function nameFor({ name, binBits }: DelegatedRole, { filename }: Wanted): string {
  return binBits === undefined ? name : binOf(name, binBits, filename);
}

/** Everything that a role can be called; of bins there may be very many. */
export function* namesOf({ name, binBits }: DelegatedRole): Generator<string> {
  if (binBits === undefined) yield name;
  else for (let bin = 0; bin < 2 ** binBits; bin += 1) yield binName(name, binBits, bin);
}

function binOf(prefix: string, bits: number, filename: string): string {
  const digits = Math.ceil(bits / HEX_BITS);
  const leading = Number.parseInt(pathDigest(filename).slice(0, digits), 16);
  return binName(prefix, bits, Math.floor(leading / 2 ** (digits * HEX_BITS - bits)));
}

function binName(prefix: string, bits: number, bin: number): string {
  return `${prefix}-${bin.toString(16).padStart(Math.ceil(bits / HEX_BITS), '0')}`;
}

function pathDigest(filename: string): string {
  return digest('sha256', Buffer.from(filename));
}

function readDelegation(entry: Fields, rules: EntryRules): Delegation {
  const isMultiRole = entry.has('roles');
  return {
    roles: isMultiRole ? readRoles(entry, rules) : [readRole(entry, rules)],
    minRolesInAgreement: isMultiRole ? readAgreement(entry) : undefined,
    ...readScope(entry),
    terminating: entry.optionalBoolean('terminating') ?? false,
  };
}

function readRole(entry: Fields, rules: EntryRules): DelegatedRole {
  const name = entry.string('name');
  rules.verifyName(name, entry.at('name'));
  return { name, authority: rules.readAuthority(entry), binBits: undefined };
}

/** A role may share keys with another: TAP 3 counts roles, and who delegates has chosen them. */
function readRoles(entry: Fields, rules: EntryRules): readonly DelegatedRole[] {
  for (const field of ['keyids', 'threshold']) {
    if (entry.has(field))
      throw malformed(entry.at(field), 'none beside roles, which have their own');
  }
  const names = new Set<string>();
  return entry.objects('roles').map((fields) => {
    const role = readRole(fields, rules);
    // A role that agrees with itself would make two of one.
    if (names.has(role.name)) throw malformed(fields.at('name'), 'each role once');
    names.add(role.name);
    return role;
  });
}

function readAgreement(entry: Fields): number {
  const needed = entry.integer('min_roles_in_agreement', 1);
  const most = entry.objects('roles').length;
  if (needed <= most) return needed;
  throw malformed(entry.at('min_roles_in_agreement'), 'no more than there are roles');
}

function readScope(entry: Fields): Pick<Delegation, 'paths' | 'pathHashPrefixes' | 'hardwareIds'> {
  const hardwareIds = entry.has('hardwareIds') ? entry.strings('hardwareIds') : undefined;
  hardwareIds?.forEach((hardwareId) => {
    verifyHardwareId(hardwareId, entry.at('hardwareIds'));
  });
  const prefixes = entry.has('path_hash_prefixes')
    ? entry.strings('path_hash_prefixes')
    : undefined;
  if (prefixes !== undefined && entry.has('paths')) {
    throw malformed(entry.at('path_hash_prefixes'), 'either paths or path_hash_prefixes');
  }
  const paths = prefixes === undefined ? entry.strings('paths') : [];
  paths.forEach((pattern, index) => {
    if (pattern.length <= MAX_PATTERN_LENGTH) return;
    throw malformed(entry.at('paths', index), `at most ${String(MAX_PATTERN_LENGTH)} characters`);
  });
  return { hardwareIds, paths, pathHashPrefixes: prefixes ?? [] };
}
