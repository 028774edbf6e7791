/**
 * The seal: the floors of this device in a form that a token can keep.
 *
 * One line of JSON and its SHA-256, so that a record which a power cut left half written is told from
 * a whole one. What keeps others from writing it is the token, by its PIN; a MAC would be made with a
 * key that the same PIN gives out.
 */
import { Fields, malformed, parseJson, type Json } from '../decode.ts';
import { isOtaError, type Repo } from '../errors.ts';
import { canonicalJson, digest } from './canonical.ts';
import type { Instant } from './time.ts';

export interface Seal {
  /** Names the state on disk that this belongs to; the database has the same. */
  readonly stateId: string;
  /** Of two records the higher one counts; the database knows it before the token does. */
  readonly sequence: number;
  /** Report counters up to this one may have been given out. */
  readonly reports: number;
  readonly latestKnownTime: Instant;
  /** By `REPO/ROLE`. */
  readonly versions: ReadonlyMap<string, number>;
  /** SHA-256 of what each root signs, in hex. */
  readonly roots: ReadonlyMap<Repo, string>;
  /** Highest release counter by ECU serial. */
  readonly releases: ReadonlyMap<string, number>;
}

/** No record is larger. */
export const MAX_SEAL_BYTES = 4096;

/** For the names and numbers of roles, and as much again for those of ECUs. */
const MAX_NAMES_BYTES = 1400;
/** The oldest reader that understands it; fields that a reader does not know are passed over. */
const VERSION = 1;

/**
 * Leaves out delegated roles and ECUs that do not fit any more: they are held by the Snapshot's
 * version, and by what runs.
 */
export function fitted(seal: Seal): Seal {
  const isDelegated = ([name]: readonly [string, number]): boolean => name.includes('/delegated/');
  const [above, delegated] = [
    [...seal.versions].filter((entry) => !isDelegated(entry)),
    [...seal.versions].filter(isDelegated).sort(),
  ];
  return {
    ...seal,
    versions: fitting([...above, ...delegated]),
    releases: fitting([...seal.releases].sort()),
  };
}

/** @param seal - `fitted`, so that it has at most `MAX_SEAL_BYTES` bytes */
export function encodeSeal(seal: Seal): Uint8Array {
  const value = new Map<string, Json>([
    ['version', VERSION],
    ['stateId', seal.stateId],
    ['sequence', seal.sequence],
    ['reports', seal.reports],
    ['latestKnownTimeMs', seal.latestKnownTime],
    ['versions', seal.versions],
    ['roots', new Map(seal.roots)],
    ['releases', seal.releases],
  ]);
  const text = canonicalJson(value);
  return Buffer.concat([text, Buffer.from(`\n${digest('sha256', text)}`)]);
}

/**
 * The newest whole record.
 *
 * @returns `undefined` if none is whole; `newer` if a later agent wrote one that this one cannot read
 */
export function newestSeal(records: readonly Uint8Array[]): Seal | 'newer' | undefined {
  let newest: Seal | undefined;
  for (const record of records) {
    const seal = decodeSeal(record);
    if (seal === 'newer') return seal;
    if (seal !== undefined && seal.sequence > (newest?.sequence ?? 0)) newest = seal;
  }
  return newest;
}

function decodeSeal(record: Uint8Array): Seal | 'newer' | undefined {
  const end = record.lastIndexOf(LINE_FEED);
  if (end === -1 || record.byteLength > MAX_SEAL_BYTES) return undefined;
  const text = record.subarray(0, end);
  if (Buffer.from(record.subarray(end + 1)).toString() !== digest('sha256', text)) return undefined;
  try {
    const fields = new Fields(parseJson(text, 'seal'), 'seal');
    return fields.integer('version', 1) > VERSION ? 'newer' : readSeal(fields);
  } catch (error) {
    if (isOtaError(error) && error.code === 'METADATA_MALFORMED') return undefined;
    throw error;
  }
}

function readSeal(fields: Fields): Seal {
  const roots = fields.object('roots');
  return {
    stateId: fields.string('stateId'),
    sequence: fields.integer('sequence', 1),
    reports: fields.integer('reports', 0),
    latestKnownTime: fields.integer('latestKnownTimeMs', 0) as Instant,
    versions: readNumbers(fields.object('versions')),
    roots: new Map([...roots.entries()].map(([name]) => [repoOf(name), roots.string(name)])),
    releases: readNumbers(fields.object('releases')),
  };
}

const LINE_FEED = 0x0a;

function repoOf(name: string): Repo {
  if (name === 'director' || name === 'image') return name;
  throw malformed('seal.roots', 'director or image');
}

function readNumbers(fields: Fields): ReadonlyMap<string, number> {
  return new Map([...fields.entries()].map(([name]) => [name, fields.integer(name, 0)]));
}

/** The first ones that fit. */
function fitting(entries: readonly (readonly [string, number])[]): ReadonlyMap<string, number> {
  let left = MAX_NAMES_BYTES;
  return new Map(
    entries.filter(([name]) => {
      left -= Buffer.byteLength(JSON.stringify(name)) + MAX_NUMBER_BYTES;
      return left >= 0;
    }),
  );
}

/** A safe integer, a colon and a comma. */
const MAX_NUMBER_BYTES = 18;
