/** From trusted targets and the inventory to what has to be installed. */
import type { Assignment } from './director.ts';
import type { Encrypted } from './encrypted.ts';
import { isSameImage, type EcuInventory, type ImageIdentity } from './inventory.ts';
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
  /** Absent where the image is what is downloaded. */
  readonly compressed?: Compressed | undefined;
  /** Absent where what is downloaded is not encrypted. */
  readonly encrypted?: Encrypted | undefined;
  /** The Director wants it to wait for no longer than the device allows. */
  readonly critical?: true;
}

export const COMPRESSIONS = ['gzip', 'xz', 'zstd'] as const;

/** What the Image repository signed of an image that is packed while it travels. */
export interface Compressed {
  readonly by: (typeof COMPRESSIONS)[number];
  /** Of the image when it is unpacked. */
  readonly lengthBytes: number;
  readonly hashes: ReadonlyMap<string, string>;
}

/** The bytes that an ECU has to hold in the end. */
export function contentOf(target: Target): ImageIdentity {
  const { filename, compressed } = target;
  if (compressed === undefined) return target;
  return { filename, lengthBytes: compressed.lengthBytes, hashes: compressed.hashes };
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
  const none = { compressed: undefined, encrypted: undefined };
  return trust({ ...target, lengthBytes, hashes, uri, ...none });
}

/** The image alone, for whoever is handed it in the clear; packed, if that is how it was published. */
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
 * The targets that do not run yet, in the order to install them: that of the inventory, but the Primary
 * comes last, because what installs it may reboot the device that has to install the others.
 */
export function planInstallation(
  targets: readonly TrustedTarget[],
  inventory: readonly EcuInventory[],
): readonly TrustedTarget[] {
  const [primary, ...others] = inventory.map(({ serial }) => serial);
  const installed = new Map(inventory.map((ecu) => [ecu.serial, ecu.installed]));
  const pending = targets.filter((target) => {
    const image = installed.get(target.ecu);
    return image === undefined || !isSameImage(target, image);
  });
  return [
    ...others.flatMap((serial) => pending.filter(({ ecu }) => ecu === serial)),
    ...pending.filter((target) => target.ecu === primary),
  ];
}
