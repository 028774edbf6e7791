/** Holds what the Director wants against what the Image repository signed. */
import { OtaError } from '../errors.ts';
import { HASH_ALGORITHMS } from './canonical.ts';
import { readUri, verifyReleaseCounter, type AssignedEcu, type Assignment } from './director.ts';
import type { EcuInventory } from './inventory.ts';
import type { TargetFile } from './metadata.ts';
import { readCompressed } from './compressed.ts';
import type { Compressed, Target, TrustedTarget } from './plan.ts';
import { trust } from './trust.ts';

/**
 * Makes a target trusted: both repositories have to mean the same bytes for the same hardware.
 *
 * Hash algorithms that only one side lists are no contradiction; none in common is. The image then has
 * to have every hash that either lists. Encryption is the Director's alone to say: length and hashes of
 * both repositories are those of the plain image.
 *
 * Source: Uptane Standard 2.1 §5.4.4.2 step 10.
 *
 * @param image - the Image repository's entry for exactly the assignment's filename
 * @param imageFile - what the Image repository serves it as, if not under its filename
 * @throws OtaError TARGET_MISMATCH, RELEASE_COUNTER_ROLLBACK
 */
export function matchTarget(
  assignment: Assignment,
  image: TargetFile,
  ecu: EcuInventory,
  imageFile?: string,
): TrustedTarget {
  const { filename, lengthBytes, encrypted, critical } = assignment;
  const assigned = assignment.ecus.get(ecu.serial);
  if (assigned === undefined) throw new OtaError('BUG', { what: `${ecu.serial} is not assigned` });
  if (lengthBytes !== image.lengthBytes) {
    throw mismatch(filename, 'length', [lengthBytes, image.lengthBytes]);
  }
  verifySameHashes(assignment, image);
  const signed = readImageCustom(image);
  if (!signed.hardwareIds.includes(assigned.hardwareId)) {
    throw mismatch(filename, 'hardwareIds', [assigned.hardwareId, signed.hardwareIds.join(',')]);
  }
  const { compressed, releaseCounter } = signed;
  verifySameReleaseCounter(filename, assigned, releaseCounter);
  verifyReleaseCounter(ecu, assignment, releaseCounter ?? 0);
  const uri = assignment.uri ?? signed.uri;
  const format = assignment.format ?? signed.format;
  const target: Target = {
    ecu: ecu.serial,
    hardwareId: ecu.hardwareId,
    filename,
    lengthBytes,
    hashes: new Map([...image.hashes, ...assignment.hashes]),
    ...said({ uri, imageFile, format, releaseCounter, compressed, encrypted, critical }),
  };
  return trust(target);
}

type Said<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** The members that somebody said something of. */
function said<T extends object>(members: T): Said<T> {
  const all = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(all) as Said<T>;
}

/**
 * What two roles have to say the same of a file to agree on it, as text that is equal exactly then:
 * length, hashes, hardware ids, release counter, and what comes out when it is unpacked.
 *
 * Source: Uptane Standard 2.1 §5.4.4.7 step 5; §5.2.3.1 for the fields.
 *
 * @throws OtaError METADATA_MALFORMED
 */
export function whatHasToMatch(file: TargetFile): string {
  const { hardwareIds, releaseCounter, compressed } = readImageCustom(file);
  const listed = ({ hashes }: ListsHashes): readonly (string | null)[] =>
    HASH_ALGORITHMS.map((name) => hashes.get(name) ?? null);
  const hardware = [...new Set(hardwareIds)].sort();
  const content = compressed && [compressed.by, compressed.lengthBytes, listed(compressed)];
  const facts = [file.lengthBytes, listed(file), hardware, releaseCounter ?? null, content ?? null];
  return JSON.stringify(facts);
}

interface ListsHashes {
  readonly hashes: ReadonlyMap<string, string>;
}

interface ImageCustom {
  readonly hardwareIds: readonly string[];
  readonly releaseCounter: number | undefined;
  readonly uri: string | undefined;
  readonly format: string | undefined;
  readonly compressed: Compressed | undefined;
}

function readImageCustom({ custom }: TargetFile): ImageCustom {
  return {
    hardwareIds: custom?.has('hardwareIds') === true ? custom.strings('hardwareIds') : [],
    releaseCounter: custom?.optionalInteger('releaseCounter', 0),
    uri: readUri(custom),
    format: custom?.optionalString('targetFormat'),
    compressed: readCompressed(custom),
  };
}

function verifySameHashes({ filename, hashes }: Assignment, image: TargetFile): void {
  const common = HASH_ALGORITHMS.filter((name) => hashes.has(name) && image.hashes.has(name));
  for (const name of common) {
    const pair = [hashes.get(name), image.hashes.get(name)] as const;
    if (pair[0] !== pair[1]) throw mismatch(filename, name, pair);
  }
  if (common.length === 0) {
    const pair = [[...hashes.keys()].join(','), [...image.hashes.keys()].join(',')] as const;
    throw mismatch(filename, 'hashes', pair);
  }
}

/**
 * The Image repository's counter is the one that counts: its keys are offline, while a counter that
 * only a compromised Director claims could lock every later release out.
 */
function verifySameReleaseCounter(
  filename: string,
  { releaseCounter: director }: AssignedEcu,
  image: number | undefined,
): void {
  if (director === undefined || director === image) return;
  throw mismatch(filename, 'releaseCounter', [director, image ?? 'none']);
}

function mismatch(
  filename: string,
  field: string,
  [director, image]: readonly [unknown, unknown],
): OtaError<'TARGET_MISMATCH'> {
  const values = { director: String(director), image: String(image) };
  return new OtaError('TARGET_MISMATCH', { filename, field, ...values });
}
