/** Checks that apply to the Director's Targets metadata and to no other file. */
import type { Fields } from '../decode.ts';
import { OtaError } from '../errors.ts';
import { isSameImage, type EcuInventory, type ImageIdentity } from './inventory.ts';
import type { Hashes, TargetFile, Targets } from './metadata.ts';
import { readEncrypted, type Encrypted } from './encrypted.ts';
import { verifyEcuSerial, verifyFilename, verifyHardwareId } from './names.ts';

/** One image and the ECUs it is meant for. */
export interface Assignment extends ImageIdentity {
  readonly hashes: Hashes;
  /** Where to download from instead of the Image repository. */
  readonly uri: string | undefined;
  readonly format: string | undefined;
  /** Absent where it is downloaded as it is. */
  readonly encrypted?: Encrypted;
  /** It has to go through soon, whatever it waits for. */
  readonly critical?: true;
  /** By ECU serial, in the order they were signed in; at least one. */
  readonly ecus: ReadonlyMap<string, AssignedEcu>;
}

export interface AssignedEcu {
  readonly hardwareId: string;
  readonly releaseCounter: number | undefined;
}

export interface DirectorTargets {
  readonly assignments: readonly Assignment[];
  /** Names the update in reports to the Director. */
  readonly correlationId: string | undefined;
}

/** What the Director's Targets are held against. */
export interface Vehicle {
  readonly inventory: readonly EcuInventory[];
  readonly vehicleId?: string | undefined;
}

/**
 * Old tools wrote this where they had no address; the reference client ignores it, so servers still
 * send it.
 */
const PLACEHOLDER_URI = 'https://example.com/';

/**
 * Rejects Director Targets that only an Image repository or another vehicle could have meant.
 *
 * Source: Uptane Standard 2.1 §5.4.4.6 steps 6 to 8; §5.2.3 for what each image has to name.
 *
 * @throws OtaError DIRECTOR_DELEGATES if there is any delegation
 * @throws OtaError DIRECTOR_WRONG_VEHICLE if no image is assigned, and that to another vehicle
 * @throws OtaError DIRECTOR_TARGET_WITHOUT_ECU, DIRECTOR_REPEATS_ECU, ECU_UNKNOWN
 * @throws OtaError HARDWARE_ID_MISMATCH, RELEASE_COUNTER_ROLLBACK, TARGET_NAME_UNSAFE
 */
export function readDirectorTargets(targets: Targets, vehicle: Vehicle): DirectorTargets {
  if (targets.delegations.length > 0) {
    throw new OtaError('DIRECTOR_DELEGATES', { delegations: targets.delegations.length });
  }
  const assignments = readAssignments(targets);
  if (assignments.length === 0) verifyVehicle(targets.custom, vehicle);
  const seen = new Set<string>();
  for (const image of assignments) {
    for (const [ecu, assigned] of image.ecus) {
      if (seen.has(ecu)) throw new OtaError('DIRECTOR_REPEATS_ECU', { ecu });
      seen.add(ecu);
      verifyEcu(ecu, assigned, { image, inventory: vehicle.inventory });
    }
  }
  return { assignments, correlationId: targets.custom?.optionalString('correlationId') };
}

/** What is assigned to whom, whoever that is. */
export function readAssignments({ targets }: Targets): readonly Assignment[] {
  return [...targets].map(([filename, file]) => assignment(filename, file));
}

/**
 * Rejects a release older than any that was confirmed here, even if both repositories signed it.
 *
 * An image that has no counter counts as 0: otherwise every release from before counters were
 * introduced could be brought back. Who goes back by hand may stay there, because the image that runs
 * is only held against itself; to any other the way leads up.
 *
 * Source: Uptane Standard 2.1 §5.4.4.2 step 10.
 *
 * @throws OtaError RELEASE_COUNTER_ROLLBACK
 */
export function verifyReleaseCounter(
  { serial, installed, highestReleaseCounter = 0 }: EcuInventory,
  image: ImageIdentity,
  offered: number,
): void {
  const current = installed?.releaseCounter ?? 0;
  const runs = installed !== undefined && isSameImage(image, installed);
  const trusted = runs ? current : Math.max(current, highestReleaseCounter);
  if (offered >= trusted) return;
  const { filename } = image;
  throw new OtaError('RELEASE_COUNTER_ROLLBACK', { ecu: serial, filename, trusted, offered });
}

/** An address to download from, if `custom` has one that means something. */
export function readUri(custom: Fields | undefined): string | undefined {
  const uri = custom?.optionalString('uri') ?? '';
  return uri === '' || uri === PLACEHOLDER_URI ? undefined : uri;
}

function assignment(filename: string, file: TargetFile): Assignment {
  const image = readImage(filename, file);
  const { custom } = file;
  const ecus =
    custom
      ?.optionalObject('ecuIdentifiers')
      ?.mapMembers((fields, serial) => assignedEcu(serial, fields)) ?? new Map<string, never>();
  if (ecus.size === 0) throw new OtaError('DIRECTOR_TARGET_WITHOUT_ECU', { filename });
  return { ...image, ecus };
}

/** What a Director says of an image, but for whom it is. */
export function readImage(
  filename: string,
  { lengthBytes, hashes, custom }: TargetFile,
): Omit<Assignment, 'ecus'> {
  verifyFilename(filename);
  const format = custom?.optionalString('targetFormat');
  const encrypted = readEncrypted(custom, lengthBytes);
  const critical = custom?.optionalBoolean('critical') === true;
  const image = { filename, lengthBytes, hashes, uri: readUri(custom), format };
  return { ...image, ...(encrypted && { encrypted }), ...(critical && { critical }) };
}

function assignedEcu(serial: string, fields: Fields): AssignedEcu {
  verifyEcuSerial(serial, fields.path);
  const hardwareId = fields.string('hardwareId');
  verifyHardwareId(hardwareId, fields.at('hardwareId'));
  return { hardwareId, releaseCounter: fields.optionalInteger('releaseCounter', 0) };
}

function verifyEcu(
  serial: string,
  { hardwareId: offered, releaseCounter }: AssignedEcu,
  { image, inventory }: { image: Assignment; inventory: readonly EcuInventory[] },
): void {
  const { filename } = image;
  const ecu = inventory.find((candidate) => candidate.serial === serial);
  if (ecu === undefined) throw new OtaError('ECU_UNKNOWN', { ecu: serial, filename });
  const expected = ecu.hardwareId;
  if (offered !== expected) {
    throw new OtaError('HARDWARE_ID_MISMATCH', { ecu: serial, filename, expected, offered });
  }
  if (releaseCounter !== undefined) verifyReleaseCounter(ecu, image, releaseCounter);
}

/**
 * Replay of the empty Targets of another vehicle, which no ECU identifier can tell apart.
 *
 * Directors in the field leave the identifier out, so that it is only held against what is there.
 */
function verifyVehicle(custom: Fields | undefined, { vehicleId }: Vehicle): void {
  const offered = custom?.optionalString('vehicleId');
  if (offered === undefined || vehicleId === undefined || offered === vehicleId) return;
  throw new OtaError('DIRECTOR_WRONG_VEHICLE', { expected: vehicleId, offered });
}
