/** What the device is made of, and what runs on it. */

/** One ECU as registered with the Director. The first one in a list is the Primary. */
export interface Ecu {
  readonly serial: string;
  readonly hardwareId: string;
}

/** What says which bytes an image has. */
export interface ImageIdentity {
  readonly filename: string;
  readonly lengthBytes: number;
  /** Algorithm (`sha256`, `sha512`) to lower-case hex. */
  readonly hashes: ReadonlyMap<string, string>;
}

/** What runs on an ECU, as told to the Director in version reports. */
export interface InstalledImage extends ImageIdentity {
  readonly ecu: string;
  readonly releaseCounter?: number;
}

export interface EcuInventory extends Ecu {
  /** Absent until something was installed by us. */
  readonly installed?: InstalledImage;
  /** Of all images ever confirmed on it; going back by hand does not lower it. */
  readonly highestReleaseCounter?: number;
}

/**
 * Same filename, same length, and every hash that both sides know is equal, of at least one.
 *
 * Anything less would let an image be taken for installed that merely shares its name.
 */
export function isSameImage(wanted: ImageIdentity, found: ImageIdentity): boolean {
  const common = [...wanted.hashes].filter(([algorithm]) => found.hashes.has(algorithm));
  return (
    wanted.filename === found.filename &&
    wanted.lengthBytes === found.lengthBytes &&
    common.length > 0 &&
    common.every(([algorithm, hex]) => found.hashes.get(algorithm) === hex)
  );
}
