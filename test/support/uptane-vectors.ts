/** The vectors under `test/vectors/uptane`, and what this agent says to each. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { FailureCode, Repo } from '../../agent/errors.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';

export interface Vector {
  readonly name: string;
  readonly description: string;
  readonly ecus: readonly Ecu[];
  readonly steps: readonly VectorStep[];
}

export interface VectorStep {
  readonly expect: 'install' | 'no-update' | 'reject';
  /** The reference client's name for the reason. */
  readonly specError: string | null;
  readonly director: string;
  readonly image: string;
}

const VECTORS = join(import.meta.dirname, '../vectors/uptane');

/** What the reference client calls the reason, and what may stand for it here. */
export const CODES_OF_SPEC_ERROR: Readonly<Record<string, readonly FailureCode[]>> = {
  BadHardwareId: ['HARDWARE_ID_MISMATCH'],
  BadSignature: ['THRESHOLD_NOT_MET'],
  DelegationHashMismatch: ['METADATA_HASH_MISMATCH'],
  DelegationMissing: ['SNAPSHOT_ROLE_MISSING'],
  DirectorRepeatedEcuId: ['DIRECTOR_REPEATS_ECU'],
  ExpiredMetadata: ['METADATA_EXPIRED'],
  FetchFailure: ['METADATA_MISSING'],
  IllegalThreshold: ['METADATA_MALFORMED'],
  InvalidMetadata: ['METADATA_MALFORMED'],
  MetadataHashMismatch: ['METADATA_HASH_MISMATCH'],
  NonUniqueSignatures: ['THRESHOLD_NOT_MET'],
  Oversized: ['METADATA_TOO_LARGE'],
  Rollback: ['VERSION_ROLLBACK'],
  RootRotationError: ['THRESHOLD_NOT_MET', 'ROOT_VERSION_MISMATCH'],
  TargetHashMismatch: ['IMAGE_HASH_MISMATCH', 'IMAGE_TRUNCATED'],
  TargetMismatch: ['TARGET_MISMATCH', 'TARGET_NOT_IN_IMAGE_REPO'],
  UnknownKey: ['THRESHOLD_NOT_MET'],
  UnmetThreshold: ['THRESHOLD_NOT_MET'],
  VersionMismatch: ['METADATA_VERSION_MISMATCH'],
};

/** The code with which the last step of each bad vector ends. */
export const CODE_OF_VECTOR: Readonly<Record<string, FailureCode>> = {
  'b02-expired-director-root': 'METADATA_EXPIRED',
  'b04-expired-image-root': 'METADATA_EXPIRED',
  'b06-expired-image-snapshot': 'METADATA_EXPIRED',
  'b08-expired-delegation': 'METADATA_EXPIRED',
  'b10-target-wrong-hash': 'IMAGE_HASH_MISMATCH',
  'b12-target-truncated': 'IMAGE_TRUNCATED',
  'b14-director-image-hash-mismatch': 'TARGET_MISMATCH',
  'b16-director-wrong-hwid': 'HARDWARE_ID_MISMATCH',
  'b18-director-repeated-ecu': 'DIRECTOR_REPEATS_ECU',
  'b20-target-not-in-image-repo': 'TARGET_NOT_IN_IMAGE_REPO',
  'b22-nosig-director-root': 'THRESHOLD_NOT_MET',
  'b24-nosig-image-root': 'THRESHOLD_NOT_MET',
  'b26-nosig-image-snapshot': 'THRESHOLD_NOT_MET',
  'b28-badsig-director-root': 'THRESHOLD_NOT_MET',
  'b30-badsig-image-root': 'THRESHOLD_NOT_MET',
  'b32-badsig-image-snapshot': 'THRESHOLD_NOT_MET',
  'b34-foreignkey-director-root': 'THRESHOLD_NOT_MET',
  'b36-foreignkey-image-root': 'THRESHOLD_NOT_MET',
  'b38-foreignkey-image-snapshot': 'THRESHOLD_NOT_MET',
  'b40-wrong-role-key-director-targets': 'THRESHOLD_NOT_MET',
  'b42-duplicate-signature': 'THRESHOLD_NOT_MET',
  'b46-threshold-negative': 'METADATA_MALFORMED',
  'b50-rollback-director-targets': 'VERSION_ROLLBACK',
  'b52-rollback-image-snapshot': 'VERSION_ROLLBACK',
  'b54-timestamp-snapshot-hash-mismatch': 'METADATA_HASH_MISMATCH',
  'b56-snapshot-targets-version-mismatch': 'METADATA_VERSION_MISMATCH',
  'b58-timestamp-no-hash': 'METADATA_MALFORMED',
  'b60-rotation-not-signed-by-old': 'THRESHOLD_NOT_MET',
  'b62-root-version-skip': 'ROOT_VERSION_MISMATCH',
  'b64-rotation-revokes-targets-key': 'THRESHOLD_NOT_MET',
  'b70-malformed-json-director-targets': 'METADATA_MALFORMED',
  'b72-html-instead-of-json': 'METADATA_MALFORMED',
  'b74-director-targets-too-large': 'METADATA_TOO_LARGE',
  'b78-missing-image-timestamp': 'METADATA_MISSING',
  'b80-delegation-wrong-key': 'THRESHOLD_NOT_MET',
  'b82-delegation-missing-file': 'METADATA_MISSING',
  'b84-delegation-not-in-snapshot': 'SNAPSHOT_ROLE_MISSING',
  'b86-delegation-snapshot-hash': 'METADATA_HASH_MISMATCH',
  'b88-delegation-cycle': 'TARGET_NOT_IN_IMAGE_REPO',
};

/** The vector about which this agent and the reference client disagree; see the tests. */
export const UNKNOWN_KEY_TYPE = 'b76-ecdsa-key-in-root';

export function loadVectors(): readonly Vector[] {
  return readdirSync(VECTORS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => loadVector(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What a step serves, `undefined` for what it does not. */
export function served(step: VectorStep, repo: Repo, file: string): Uint8Array | undefined {
  try {
    return readFileSync(join(step[repo], file));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

interface VectorJson {
  readonly description: string;
  readonly ecus: readonly { readonly serial: string; readonly hwid: string }[];
  readonly steps: readonly {
    readonly step: number;
    readonly expect: VectorStep['expect'];
    readonly spec_error: string | null;
  }[];
}

function loadVector(name: string): Vector {
  const text = readFileSync(join(VECTORS, name, 'vector.json'), 'utf8');
  const { description, ecus, steps } = JSON.parse(text) as VectorJson;
  return {
    name,
    description,
    ecus: ecus.map(({ serial, hwid }) => ({ serial, hardwareId: hwid })),
    steps: steps.map(({ step, expect, spec_error: specError }) => ({
      expect,
      specError,
      director: join(VECTORS, name, 'steps', String(step), 'director'),
      image: join(VECTORS, name, 'steps', String(step), 'repo'),
    })),
  };
}
