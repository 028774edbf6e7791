/**
 * What the secure world runs on: one disk, storage on it, and the TAs that were loaded from it, from
 * power-on to power-off.
 */
import type { Device } from './control/control.ts';
import type { BlockDirectory } from './storage/block-file.ts';
import type { TrustedApp } from './ta.ts';
import { World, type OnPanic } from './world/world.ts';

/** What is there after the power came. */
export interface Booted {
  readonly apps: readonly TrustedApp[];
  /** Closes storage, and with it the disk. */
  close(): void;
}

interface Parts {
  /** @throws StorageFailure */
  openDisk(): BlockDirectory;
  /** On failure the disk is closed. */
  boot(disk: BlockDirectory): Booted;
  readonly onPanic: OnPanic;
}

export class Board implements Device {
  readonly world: World;
  readonly #parts: Parts;
  #disk: BlockDirectory;
  #booted: Booted;
  #endConnections: () => void = () => undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#disk = parts.openDisk();
    this.#booted = parts.boot(this.#disk);
    this.world = new World(this.#booted.apps, parts.onPanic);
  }

  /** @param endConnections - what a restart does to who is connected */
  connect(endConnections: () => void): void {
    this.#endConnections = endConnections;
  }

  disk(): BlockDirectory {
    return this.#disk;
  }

  restart(whileOff: (disk: BlockDirectory) => void): void {
    this.#endConnections();
    this.#booted.close();
    this.#disk = this.#parts.openDisk();
    whileOff(this.#disk);
    this.#booted = this.#parts.boot(this.#disk);
    this.world.reset(this.#booted.apps);
  }

  close(): void {
    this.world.close();
    this.#booted.close();
  }
}
