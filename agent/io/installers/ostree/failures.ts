/** What ostree's words mean for an update. */
import { statfs } from 'node:fs/promises';

import { isOtaError, OtaError } from '../../../errors.ts';
import type { Target } from '../../../uptane/plan.ts';
import { OstreeError } from './program.ts';

const CORRUPTED =
  /Corrupted \w+ object.*checksum expected='(?<signed>[0-9a-f]{64})' actual='(?<computed>[0-9a-f]{64})'/u;
const NO_SPACE = /min-free-space|No space left on device|Disk quota exceeded/u;
/** The disk, or the owner's rules for signatures; all else that a pull stumbles over came to it. */
const NOT_OF_THE_WAY =
  /Read-only file system|Permission denied|Operation not permitted|Input\/output error|GPG|signature/iu;
const RESERVE = /min-free-space-(?:percent '(?<percent>\d+)%'|size '(?<size>[\d.]+[\s?]*\w+)')/u;
const REQUESTED = /at least (?<size>[\d.]+[\s?]*\w+) requested/u;

/**
 * The failure behind an error of ostree, where it is a certain one.
 *
 * @param repoPath - whose file system is full, if it is
 * @returns `error` itself where ostree only said no
 */
export async function explained(
  error: unknown,
  { filename }: Pick<Target, 'filename'>,
  repoPath: string,
): Promise<unknown> {
  if (!(error instanceof OstreeError)) return error;
  if (NO_SPACE.test(error.said)) return spaceFailure(error, repoPath);
  const { signed, computed } = CORRUPTED.exec(error.said)?.groups ?? {};
  if (signed === undefined || computed === undefined) return error;
  const details = { filename, algorithm: 'sha256', signed, computed };
  return new OtaError('IMAGE_HASH_MISMATCH', details, { cause: error });
}

/** A pull fails for what the treehub did, unless ostree itself found something wrong. */
export async function pullFailure(
  error: unknown,
  { target, repoPath, url }: { target: Target; repoPath: string; url: string },
  ofTreehub: Error | undefined,
): Promise<unknown> {
  const known = await explained(error, target, repoPath);
  if (isOtaError(known) || !(error instanceof OstreeError)) return known;
  if (ofTreehub === undefined && NOT_OF_THE_WAY.test(error.said)) return error;
  if (isOtaError(ofTreehub) && FROM_TREEHUB.has(ofTreehub.code)) return ofTreehub;
  const { filename } = target;
  const reason = ofTreehub ?? error;
  return new OtaError(
    'DOWNLOAD_FAILED',
    { filename, url, cause: reason.message },
    { cause: reason },
  );
}

/** Attacks keep their name. */
const FROM_TREEHUB = new Set(['DOWNLOAD_TOO_SLOW', 'IMAGE_TOO_LARGE']);

async function spaceFailure(
  error: OstreeError,
  path: string,
): Promise<OtaError<'SPACE_INSUFFICIENT'>> {
  const { bavail, blocks, bsize } = await statfs(path);
  const freeBytes = bavail * bsize;
  const { percent, size } = RESERVE.exec(error.said)?.groups ?? {};
  const reserveBytes =
    percent === undefined ? parseSize(size) : (blocks * bsize * Number(percent)) / 100;
  const requestedBytes = parseSize(REQUESTED.exec(error.said)?.groups?.['size']);
  // Where nobody says how much was wanted, it was more than there is.
  const neededBytes = Math.max(Math.ceil(reserveBytes + requestedBytes), freeBytes + 1);
  return new OtaError('SPACE_INSUFFICIENT', { path, neededBytes, freeBytes }, { cause: error });
}

const UNITS: Readonly<Record<string, number>> = { kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };

/** As GLib writes sizes: `2.0 MB`, `512 bytes`, with a space that the C locale does not have. */
function parseSize(text = ''): number {
  const [, digits = '0', unit = ''] = /^([\d.]+)[\s?]*(\w+)$/u.exec(text) ?? [];
  return Number(digits) * (UNITS[unit] ?? 1);
}
