/** What an offline update (a lockbox) says: images for hardware, and for no ECU in particular. */
import { malformed, type Fields } from '../decode.ts';
import { OtaError } from '../errors.ts';
import { digest } from './canonical.ts';
import { readImage, verifyReleaseCounter, type AssignedEcu, type Assignment } from './director.ts';
import type { EcuInventory } from './inventory.ts';
import type { File, TargetFile, Targets } from './metadata.ts';
import { verifyHardwareId } from './names.ts';

export interface Lockbox {
  readonly name: string;
  /** Names the update in reports to the Director. */
  readonly correlationId: string;
  /** For the ECUs of this device alone; empty if it has nothing for any of them. */
  readonly assignments: readonly Assignment[];
}

/** What a lockbox is called as a role, in failures. */
export function lockboxRole(name: string): string {
  return `offline-updates/${name}`;
}

/**
 * Turns hardware identifiers into the ECUs of this device.
 *
 * One lockbox is for many vehicles, so that no ECU is named in it; one that does is refused, because
 * to leave that out would install on ECUs which were not meant.
 *
 * Source: Uptane PURE-2, Offline Updates metadata; Uptane Standard 2.1 §5.4.4.6 steps 6 and 7.
 *
 * @throws OtaError DIRECTOR_DELEGATES, DIRECTOR_REPEATS_ECU, METADATA_MALFORMED
 * @throws OtaError RELEASE_COUNTER_ROLLBACK, TARGET_NAME_UNSAFE
 */
export function readLockbox(
  name: string,
  { bytes, body }: File<Targets>,
  inventory: readonly EcuInventory[],
): Lockbox {
  const { delegations, targets, custom, version } = body;
  if (delegations.length > 0) {
    throw new OtaError('DIRECTOR_DELEGATES', { delegations: delegations.length });
  }
  const seen = new Set<string>();
  const assignments: Assignment[] = [];
  for (const [filename, file] of targets) {
    const image = {
      ...readImage(filename, file),
      ecus: ecusOf({ name, filename, file }, inventory),
    };
    for (const [ecu, { releaseCounter }] of image.ecus) {
      if (seen.has(ecu)) throw new OtaError('DIRECTOR_REPEATS_ECU', { ecu });
      seen.add(ecu);
      const known = inventory.find(({ serial }) => serial === ecu);
      if (known && releaseCounter !== undefined) verifyReleaseCounter(known, image, releaseCounter);
    }
    if (image.ecus.size > 0) assignments.push(image);
  }
  const said = custom?.optionalString('correlationId');
  return { name, correlationId: said ?? correlationIdOf(name, version, bytes), assignments };
}

/** As the field's servers derive it, so that a report finds its lockbox. */
function correlationIdOf(name: string, version: number, bytes: Uint8Array): string {
  const content = digest('sha256', bytes).slice(0, 12);
  return `urn:tdx-ota:lockbox:${name}:${String(version)}:${content}`;
}

interface Entry {
  readonly name: string;
  readonly filename: string;
  readonly file: TargetFile;
}

function ecusOf(
  { name, filename, file: { custom } }: Entry,
  inventory: readonly EcuInventory[],
): ReadonlyMap<string, AssignedEcu> {
  if (custom === undefined) {
    throw malformed(
      `director/${lockboxRole(name)}.signed.targets.${filename}`,
      'custom.hardwareIds',
    );
  }
  if (custom.has('ecuIdentifiers')) {
    throw malformed(custom.at('ecuIdentifiers'), 'none: an offline update is for hardware');
  }
  const hardwareIds = readHardwareIds(custom);
  const releaseCounter = custom.optionalInteger('releaseCounter', 0);
  return new Map(
    inventory
      .filter(({ hardwareId }) => hardwareIds.includes(hardwareId))
      .map(({ serial, hardwareId }) => [serial, { hardwareId, releaseCounter }]),
  );
}

function readHardwareIds(custom: Fields): readonly string[] {
  const hardwareIds = custom.strings('hardwareIds');
  if (hardwareIds.length === 0) throw malformed(custom.at('hardwareIds'), 'at least one');
  for (const id of hardwareIds) verifyHardwareId(id, custom.at('hardwareIds'));
  return hardwareIds;
}
