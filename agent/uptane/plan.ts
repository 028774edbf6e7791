/** From trusted targets and the inventory to what has to be installed. */
import type { Trusted } from './trust.ts';

/** An image that both repositories signed for one ECU of this device. */
export interface Target {
  readonly ecu: string;
  readonly hardwareId: string;
  readonly filename: string;
  readonly lengthBytes: number;
  /** Algorithm (`sha256`, `sha512`) to lower-case hex; at least one; as the Director signed them. */
  readonly hashes: ReadonlyMap<string, string>;
  /** Where to download from instead of the Image repository. */
  readonly uri?: string;
  /** `targetFormat`: BINARY, OSTREE, … */
  readonly format?: string;
  readonly releaseCounter?: number;
}

export type TrustedTarget = Trusted<Target>;
