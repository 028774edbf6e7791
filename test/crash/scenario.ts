/** What a crash test needs to know of an installer: one scenario per way to install. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { FileInstaller } from '../../agent/io/installers/file.ts';
import type { Installer } from '../../agent/ports.ts';
import type { Ecu } from '../../agent/uptane/inventory.ts';
import { openAbSlot } from '../support/ab-slot.ts';
import { bootBoard, type Board } from '../support/boot-loader.ts';
import { PRIMARY, SECONDARY } from '../support/uptane-world.ts';

/** Everything is found again from the directory alone: each process makes it anew. */
export interface Scenario {
  /** The ECUs and their new images; the Primary is `PRIMARY`. */
  readonly images: readonly (readonly [Ecu, Buffer])[];
  /** Makes the device as the factory leaves it. */
  prepare(directory: string): void | Promise<void>;
  /** The real installer of an ECU. */
  open(directory: string, ecu: string): Installer;
  /** Power on: what a boot loader does. The boot id is changed by the harness. */
  boot(directory: string): void | Promise<void>;
  /** Which image an ECU runs, without asking the installer; `neither` is what must never be. */
  running(directory: string, ecu: string): Running | Promise<Running>;
}

export type Running = 'old' | 'new' | 'neither';

const IMAGE = Buffer.alloc(3 * 1024 * 1024 + 17, 'new image ');
const APPLICATION = Buffer.alloc(100_000, 'application ');

const boardIn = (directory: string): Board => ({
  marker: join(directory, 'marker'),
  booted: join(directory, 'booted'),
  bootId: join(directory, 'board-boot-id'),
});
const slotsIn = (directory: string): { a: string; b: string } => ({
  a: join(directory, 'slot-a'),
  b: join(directory, 'slot-b'),
});
const applicationIn = (directory: string): string => join(directory, 'application');

function whichIs(content: Buffer, image: Buffer): Running {
  if (content.subarray(0, image.length).equals(image)) return 'new';
  return content.toString('latin1', 0, 7) === 'factory' ? 'old' : 'neither';
}

const abSlot: Scenario = {
  images: [[PRIMARY, IMAGE]],
  prepare: (directory) => {
    for (const slot of Object.values(slotsIn(directory))) writeFileSync(slot, 'factory');
    bootBoard(boardIn(directory));
  },
  open: (directory) => openAbSlot(slotsIn(directory), boardIn(directory)),
  boot: (directory) => {
    bootBoard(boardIn(directory));
  },
  running: (directory) => {
    const booted = readFileSync(boardIn(directory).booted, 'utf8').trim() === 'a' ? 'a' : 'b';
    return whichIs(readFileSync(slotsIn(directory)[booted]), IMAGE);
  },
};

const file: Scenario = {
  images: [[PRIMARY, APPLICATION]],
  prepare: (directory) => {
    mkdirSync(directory, { recursive: true });
    writeFileSync(applicationIn(directory), 'factory');
  },
  open: (directory) => new FileInstaller(applicationIn(directory)),
  boot: () => undefined,
  running: (directory) => whichIs(readFileSync(applicationIn(directory)), APPLICATION),
};

/** A root file system that needs a reboot, and an application that needs none. */
const components: Scenario = {
  images: [
    [PRIMARY, IMAGE],
    [SECONDARY, APPLICATION],
  ],
  prepare: async (directory) => {
    await abSlot.prepare(directory);
    await file.prepare(directory);
  },
  open: (directory, ecu) => (ecu === PRIMARY.serial ? abSlot : file).open(directory, ecu),
  boot: (directory) => abSlot.boot(directory),
  running: (directory, ecu) => (ecu === PRIMARY.serial ? abSlot : file).running(directory, ecu),
};

/** A new installer adds its scenario here. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'ab-slot': abSlot,
  file,
  components,
};

/** @throws Error for a name that is none */
export function scenarioOf(name: string): Scenario {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) throw new Error(`no such scenario: ${name}`);
  return scenario;
}
