/**
 * What the secure world runs on: its disks, storage on them, and the TAs that were loaded from it, from
 * power-on to power-off.
 */
import type { Device } from './control/control.ts';
import type { Disks } from './storage/backends.ts';
import type { TrustedApp } from './ta.ts';
import { World, type OnPanic } from './world/world.ts';

/** What is there after the power came. */
export interface Booted {
  readonly apps: readonly TrustedApp[];
  /** Closes storage, and with it the disks. */
  close(): void;
}

interface Parts {
  /** @throws Error that says which one did not open and what to do */
  openDisks(): Disks;
  /** As `openDisks`; on failure the disks are closed. */
  boot(disks: Disks): Booted;
  readonly onPanic: OnPanic;
}

export class Board implements Device {
  readonly world: World;
  readonly #parts: Parts;
  #disks: Disks;
  #booted: Booted;
  #endConnections: () => void = () => undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#disks = parts.openDisks();
    this.#booted = parts.boot(this.#disks);
    this.world = new World(this.#booted.apps, parts.onPanic);
  }

  /** @param endConnections - what a restart does to who is connected */
  connect(endConnections: () => void): void {
    this.#endConnections = endConnections;
  }

  disks(): Disks {
    return this.#disks;
  }

  restart(whileOff: (disks: Disks) => void): void {
    this.#endConnections();
    this.#booted.close();
    this.#disks = this.#parts.openDisks();
    whileOff(this.#disks);
    this.#booted = this.#parts.boot(this.#disks);
    this.world.reset(this.#booted.apps);
  }

  close(): void {
    this.world.close();
    this.#booted.close();
  }
}
