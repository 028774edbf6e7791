/** What the device is made of and what runs on it. */

/** One ECU as registered with the Director. The first one in a list is the Primary. */
export interface Ecu {
  readonly serial: string;
  readonly hardwareId: string;
}

/** What runs on an ECU, as told to the Director in version reports. */
export interface InstalledImage {
  readonly ecu: string;
  readonly filename: string;
  readonly lengthBytes: number;
  /** Algorithm (`sha256`, `sha512`) to lower-case hex. */
  readonly hashes: ReadonlyMap<string, string>;
  readonly releaseCounter?: number;
}

export interface EcuInventory extends Ecu {
  /** Absent until something was installed by us. */
  readonly installed?: InstalledImage;
}
