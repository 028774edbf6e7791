/** What a crash test needs to know of a way to install. */
import type { Installer } from '../../agent/ports.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import type { Body } from '../support/build-metadata.ts';

/** `nothing`: one had to be stopped before the other is started, and the agent was killed between. */
export type Running = 'old' | 'new' | 'nothing' | 'neither';

/** What both repositories sign for an ECU. */
export interface NewImage {
  readonly ecu: Ecu;
  readonly content: Buffer;
  /** Where the installer asks for one. */
  readonly filename?: string;
  /** An OSTree commit instead of `content`. */
  readonly commit?: string;
  /** Custom fields of the Image repository. */
  readonly custom?: Body;
}

/** What runs all the time on a device that is switched on. */
export interface Services {
  /** For the agent. */
  readonly env: NodeJS.ProcessEnv;
  /** At once, as a power cut does it. */
  stop(): Promise<void>;
}

/** Everything is found again from the directory alone: each process makes it anew. */
export interface Scenario {
  /** The Primary is `PRIMARY`. */
  readonly ecus: readonly Ecu[];
  /** Why it cannot run on this machine; `undefined` where it can. */
  problem?(): string | undefined;
  /**
   * Makes the device as the factory leaves it.
   *
   * @returns its new images
   */
  prepare(directory: string): readonly NewImage[] | Promise<readonly NewImage[]>;
  /** Starts what the installer talks to; it belongs to whoever calls. */
  start?(directory: string): Promise<Services>;
  /** The real installer of an ECU. */
  open(directory: string, ecu: string): Installer;
  /** Power on: what a boot loader does. The boot id is changed by the harness. */
  boot(directory: string): void | Promise<void>;
  /** How many boots in a row one that was found good lasts, where every boot has to be found good. */
  readonly boots?: number;
  /** By default from the repositories: the update is on a stick, and the Director assigns nothing. */
  readonly comesBy?: 'stick';
  /** Which image an ECU runs, without asking the installer; `neither` is what must never be. */
  running(directory: string, ecu: string): Running | Promise<Running>;
}

/** An image's device may be longer than the image. */
export function whichIs(content: Buffer, image: Buffer): Running {
  if (content.subarray(0, image.length).equals(image)) return 'new';
  return content.toString('latin1', 0, 7) === 'factory' ? 'old' : 'neither';
}
