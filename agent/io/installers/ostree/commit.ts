/** The one commit that a target means, and what its repository has of it. */
import { readFile, stat } from 'node:fs/promises';

import { OtaError } from '../../../errors.ts';
import type { Target } from '../../../uptane/plan.ts';
import { ImageDigest } from '../../image-file.ts';

/**
 * The checksum of the commit: the signed SHA-256 of the target, and nothing else.
 *
 * @throws OtaError INSTALL_FAILED if the target has none
 */
export function commitOf({ ecu, filename, hashes }: Target): string {
  const commit = hashes.get('sha256');
  if (commit !== undefined) return commit;
  const cause = `${filename} is signed without sha256, which names the commit: sign it again with that`;
  throw new OtaError('INSTALL_FAILED', { installer: 'ostree', ecu, cause });
}

/** Whether a pull of the commit came to its end; what came is another question. */
export async function isComplete(repoPath: string, commit: string): Promise<boolean> {
  const isPartial = await exists(`${repoPath}/state/${commit}.commitpartial`);
  return !isPartial && (await exists(objectPath(repoPath, commit)));
}

/**
 * Holds the commit object against every hash that was signed.
 *
 * Its length is not in the metadata, which gives 0 for what is not one file.
 *
 * @throws OtaError IMAGE_HASH_MISMATCH
 */
export async function verifyCommit(repoPath: string, target: Target): Promise<void> {
  const object = await readFile(objectPath(repoPath, commitOf(target)));
  const digest = new ImageDigest({ ...target, lengthBytes: object.byteLength });
  digest.update(object);
  digest.verify();
}

function objectPath(repoPath: string, commit: string): string {
  return `${repoPath}/objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
