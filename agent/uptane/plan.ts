/** From trusted targets and the inventory to what has to be installed. */
import type { Assignment } from './director.ts';
import type { Encrypted } from './encrypted.ts';
import { isSameImage, type EcuInventory } from './inventory.ts';
import { trust, type Trusted } from './trust.ts';

/** An image that both repositories signed for one ECU of this device. */
export interface Target {
  readonly ecu: string;
  readonly hardwareId: string;
  readonly filename: string;
  readonly lengthBytes: number;
  /** Algorithm (`sha256`, `sha512`) to lower-case hex; at least one; what either repository lists. */
  readonly hashes: ReadonlyMap<string, string>;
  /** Where to download from instead of the Image repository. */
  readonly uri?: string | undefined;
  /** What the Image repository serves it as, below `targets/`, if not under its filename. */
  readonly imageFile?: string;
  /** `targetFormat`: BINARY, OSTREE, … */
  readonly format?: string;
  readonly releaseCounter?: number;
  /** Absent where what is downloaded is the image itself. */
  readonly encrypted?: Encrypted | undefined;
}

export type TrustedTarget = Trusted<Target>;

/**
 * What is downloaded for a target: the image, or the cipher text in its place.
 *
 * The address of the image itself is never one of its cipher text.
 */
export function downloadOf(target: TrustedTarget): TrustedTarget {
  const { encrypted } = target;
  if (encrypted === undefined) return target;
  const { lengthBytes, hashes, uri } = encrypted;
  return trust({ ...target, lengthBytes, hashes, uri, encrypted: undefined });
}

/** The image alone, for whoever is handed it in the clear. */
export function decryptedOf(target: TrustedTarget): TrustedTarget {
  return trust({ ...target, encrypted: undefined });
}

/** Does anything the Director wants not run yet (§5.4.4.2 step 6)? */
export function hasPending(
  assignments: readonly Assignment[],
  inventory: readonly EcuInventory[],
): boolean {
  return assignments.some((assignment) =>
    inventory.some(
      ({ serial, installed }) =>
        assignment.ecus.has(serial) && !(installed && isSameImage(assignment, installed)),
    ),
  );
}

/**
 * The targets that do not run yet, in the order to install them: the Primary comes last, because
 * what installs it may reboot the device that has to install the others.
 */
export function planInstallation(
  targets: readonly TrustedTarget[],
  inventory: readonly EcuInventory[],
): readonly TrustedTarget[] {
  const primary = inventory[0]?.serial;
  const installed = new Map(inventory.map((ecu) => [ecu.serial, ecu.installed]));
  const pending = targets.filter((target) => {
    const image = installed.get(target.ecu);
    return image === undefined || !isSameImage(target, image);
  });
  return [
    ...pending.filter((target) => target.ecu !== primary),
    ...pending.filter((target) => target.ecu === primary),
  ];
}
