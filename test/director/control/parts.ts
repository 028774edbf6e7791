/** What the operator's API is made from. */
import type { World } from '../world.ts';

/** Where a running server can be reached; also the content of `gateway.json`. */
export interface Addresses {
  readonly gateway: string;
  readonly enrol: string;
  readonly control: string;
  readonly ca: string;
  readonly pid: number;
}

export interface ControlParts {
  readonly world: World;
  readonly addresses: () => Addresses;
  readonly reloadRevocations: () => Promise<void>;
  readonly reloadCertificate: () => Promise<void>;
}
