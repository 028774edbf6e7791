/** The parsers of metadata files in both formats: a shape or a refusal, and the same one again. */
import type { Format } from '../../agent/uptane/format.ts';
import { UPTANE } from '../../agent/uptane/format.ts';
import { canonicalText } from '../../agent/json-text.ts';
import { HASH_ALGORITHMS, hexLength } from '../../agent/uptane/canonical.ts';
import type { Common, File, Hashes, Listing } from '../../agent/uptane/metadata.ts';
import { TUF } from '../../agent/uptane/tuf.ts';
import { holds } from './invariant.ts';
import { mutateJson } from './json-edits.ts';
import { metadataFiles } from './metadata-seeds.ts';
import { refusalOr } from './refusal.ts';
import type { FuzzTarget } from './target.ts';

const FORMATS: readonly Format[] = [UPTANE, TUF];
const PARSERS = [readRoot, readTimestamp, readSnapshot, readTargets] as const;
const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const;
const CODES: readonly string[] = ['METADATA_MALFORMED', 'ROLE_TYPE_MISMATCH', 'NAME_UNSAFE'];

/** The first byte chooses format and role. */
export const metadata: FuzzTarget = {
  name: 'metadata',
  *seeds() {
    for (const { format, role, bytes } of metadataFiles()) {
      const choice = ROLES.indexOf(role) + (format === 'tuf' ? ROLES.length : 0);
      yield withChoice(choice, bytes);
    }
  },
  run(input) {
    const [choice = 0] = input;
    const parse = PARSERS[choice % PARSERS.length] ?? readRoot;
    const format = FORMATS[Math.trunc(choice / PARSERS.length) % FORMATS.length] ?? UPTANE;
    const bytes = input.subarray(1);
    const what = `${format.name} ${parse.name}`;
    const first = refusalOr(() => parse(format, bytes));
    if ('code' in first) {
      holds(CODES.includes(first.code), `${what} refuses with ${first.code}`);
      return [`${what} ${first.code}`];
    }
    const again = parse(format, canonicalText(bytes, 'fuzz'));
    holds(first.value === again, `${what} depends on white space, escapes or order`);
    return [`${what} accepted`];
  },
  mutate(input, random, other) {
    const choice = random.oneIn(16) ? random.below(8) : (input[0] ?? 0);
    return withChoice(choice, mutateJson(input.subarray(1), random, other.subarray(1)));
  },
};

function withChoice(choice: number, bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(Buffer.concat([Buffer.of(choice), bytes]));
}

function readRoot(format: Format, bytes: Uint8Array): string {
  const file = format.parseRoot(bytes, 'image');
  const { roles } = file.body;
  for (const role of ROLES) {
    const { threshold, keys } = roles[role];
    holds(Number.isSafeInteger(threshold) && threshold >= 1, 'a threshold that nobody has to meet');
    const valid = file.countSigners(roles[role]);
    holds(valid >= 0 && valid <= keys.size, 'more signers than keys');
  }
  const counts = ROLES.map((role) => [roles[role].threshold, [...roles[role].keys.keys()].sort()]);
  return summary(file, counts);
}

function readTimestamp(format: Format, bytes: Uint8Array): string {
  const file = format.parseTimestamp(bytes, 'image');
  return summary(file, listing(file.body.snapshot));
}

function readSnapshot(format: Format, bytes: Uint8Array): string {
  const file = format.parseSnapshot(bytes, 'image');
  return summary(file, [...file.body.files].map(([name, each]) => [name, listing(each)]).sort());
}

function readTargets(format: Format, bytes: Uint8Array): string {
  const file = format.parseTargets(bytes, 'image', 'targets');
  const { targets, delegations } = file.body;
  const files = [...targets].map(([name, { lengthBytes, hashes }]) => {
    holds(targets.get(name) !== undefined, 'a file that is listed and not found');
    holds(hashes.size > 0, 'a file without hashes');
    return [name, lengthBytes, hashList(hashes)];
  });
  for (const { roles, minRolesInAgreement = 1 } of delegations) {
    holds(minRolesInAgreement >= 1, 'roles that need not agree');
    for (const { authority } of roles) holds(authority.threshold >= 1, 'a threshold of none');
  }
  return summary(file, [files.sort(), delegations.length]);
}

function listing({ version, lengthBytes, hashes }: Listing): unknown {
  holds(Number.isSafeInteger(version) && version >= 0, 'a version that does not count');
  return [version, lengthBytes, hashList(hashes)];
}

function hashList(hashes: Hashes): unknown {
  for (const [algorithm, hex] of hashes) {
    holds(HASH_ALGORITHMS.includes(algorithm), 'a hash of an unknown kind');
    holds(/^[0-9a-f]*$/u.test(hex) && hex.length === hexLength(algorithm), 'a hash of no form');
  }
  return [...hashes].sort();
}

function summary({ body: { version, expiresAt } }: File<Common>, more: unknown): string {
  holds(Number.isSafeInteger(version) && version >= 0, 'a version that does not count');
  holds(Number.isSafeInteger(expiresAt), 'a date that never comes');
  return JSON.stringify([version, expiresAt, more]);
}
