/** One scenario per way to install; those with services of their own are in files of their own. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';

import type { AbSlotSettings } from '../../agent/io/installers/ab-slot.ts';
import { GrubEnvironment } from '../../agent/io/installers/ab-slot/grub.ts';
import { RecordFile } from '../../agent/io/installers/ab-slot/record.ts';
import { SystemdBoot } from '../../agent/io/installers/ab-slot/systemd-boot.ts';
import { UbootEnvironment, type Convention } from '../../agent/io/installers/ab-slot/uboot.ts';
import { CommandInstaller } from '../../agent/io/installers/command.ts';
import { DirectoryInstaller } from '../../agent/io/installers/directory/directory.ts';
import { FileInstaller } from '../../agent/io/installers/file.ts';
import { openAbSlot, TRIES } from '../support/ab-slot.ts';
import { Grub } from '../support/boot-loaders/grub.ts';
import { SystemdBootLoader } from '../support/boot-loaders/systemd-boot.ts';
import { Uboot } from '../support/boot-loaders/uboot.ts';
import { LIMITS, openBoard, runningTree, UPDATE } from '../support/directory-board.ts';
import { bootBoard, type Board } from '../support/boot-loader.ts';
import { hashesOf } from '../support/build-metadata.ts';
import { PRIMARY, SECONDARY } from '../support/uptane-world.ts';
import { compose } from './compose.ts';
import { ostree } from './ostree.ts';
import { rauc } from './rauc.ts';
import { whichIs, type Scenario } from './scenario.ts';
import { swupdate } from './swupdate.ts';

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

const abSlot: Scenario = {
  ecus: [PRIMARY],
  prepare: (directory) => {
    for (const slot of Object.values(slotsIn(directory))) writeFileSync(slot, 'factory');
    bootBoard(boardIn(directory));
    return [{ ecu: PRIMARY, content: IMAGE }];
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

/** Unpacked on its way into the slot. */
const abSlotZstd: Scenario = {
  ...abSlot,
  prepare: async (directory) => {
    await abSlot.prepare(directory);
    const custom = {
      compression: 'zstd',
      uncompressed: { length: IMAGE.length, hashes: hashesOf(IMAGE) },
    };
    return [{ ecu: PRIMARY, content: zstdCompressSync(IMAGE), custom }];
  },
};

const file: Scenario = {
  ecus: [PRIMARY],
  prepare: (directory) => {
    mkdirSync(directory, { recursive: true });
    writeFileSync(applicationIn(directory), 'factory');
    return [{ ecu: PRIMARY, content: APPLICATION }];
  },
  open: (directory) => new FileInstaller(applicationIn(directory)),
  boot: () => undefined,
  running: (directory) => whichIs(readFileSync(applicationIn(directory)), APPLICATION),
};

interface Loader {
  readonly choice: AbSlotSettings['choice'];
  /** @returns the kernel command line of what boots */
  boot(): string;
}

/** Two slots and another boot loader than the one that reads the marker. */
function abSlotWith(load: (directory: string) => Loader): Scenario {
  const commandLine = (directory: string): string => join(directory, 'cmdline');
  const boot = (directory: string): void => {
    writeFileSync(commandLine(directory), `quiet ${load(directory).boot()} rw\n`);
  };
  return {
    ecus: [PRIMARY],
    prepare: (directory) => {
      for (const slot of Object.values(slotsIn(directory))) writeFileSync(slot, 'factory');
      boot(directory);
      return [{ ecu: PRIMARY, content: IMAGE }];
    },
    open: (directory) =>
      openAbSlot(slotsIn(directory), boardIn(directory), {
        choice: load(directory).choice,
        record: new RecordFile(join(directory, 'record')),
        booted: { commandLinePath: commandLine(directory) },
      }),
    boot,
    running: (directory) => {
      const isA = /slot=a/iu.test(readFileSync(commandLine(directory), 'utf8'));
      return whichIs(readFileSync(slotsIn(directory)[isA ? 'a' : 'b']), IMAGE);
    },
  };
}

function loadUboot(convention: Convention): (directory: string) => Loader {
  const factory = { 'boot-order': { BOOT_ORDER: 'A' }, bootcount: { ota_slot: 'a' } };
  return (directory) => {
    const uboot = new Uboot(directory, factory[convention]);
    return {
      choice: new UbootEnvironment({ configPath: uboot.config, convention, tries: TRIES }),
      boot: () =>
        convention === 'bootcount'
          ? `ota.slot=${uboot.bootByCount()}`
          : `rauc.slot=${uboot.bootByOrder().toUpperCase()}`,
    };
  };
}

function loadGrub(directory: string): Loader {
  const grub = new Grub(join(directory, 'grubenv'));
  return {
    choice: new GrubEnvironment(grub.environment, TRIES),
    boot: () => `ota.slot=${grub.boot()}`,
  };
}

function loadSystemdBoot(directory: string): Loader {
  const loader = new SystemdBootLoader(join(directory, 'esp'));
  return { choice: new SystemdBoot(loader.entries, TRIES), boot: () => loader.boot() };
}

const directory: Scenario = {
  ecus: [PRIMARY],
  prepare: (at) => {
    openBoard(at);
    return [{ ecu: PRIMARY, content: UPDATE, filename: 'release.tar' }];
  },
  open: (at) => new DirectoryInstaller({ path: join(at, 'current'), limits: LIMITS }),
  boot: () => undefined,
  running: (at) => {
    const running = runningTree(join(at, 'current'));
    if (running === 'update') return 'new';
    return running === 'factory' ? 'old' : 'neither';
  },
};

const EXAMPLE = join(import.meta.dirname, '../../config/installers/install-firmware.sh');

const command: Scenario = {
  ecus: [PRIMARY],
  prepare: (at) => {
    writeFileSync(join(at, 'firmware'), 'factory');
    return [{ ecu: PRIMARY, content: APPLICATION }];
  },
  open: (at) => new CommandInstaller({ command: [EXAMPLE, at], timeoutMs: 20_000 }),
  boot: () => undefined,
  running: (at) => whichIs(readFileSync(join(at, 'firmware')), APPLICATION),
};

/** A root file system that needs a reboot, and an application that needs none. */
const components: Scenario = {
  ecus: [PRIMARY, SECONDARY],
  prepare: async (directory) => {
    await abSlot.prepare(directory);
    await file.prepare(directory);
    return [
      { ecu: PRIMARY, content: IMAGE },
      { ecu: SECONDARY, content: APPLICATION },
    ];
  },
  open: (directory, ecu) => (ecu === PRIMARY.serial ? abSlot : file).open(directory, ecu),
  boot: (directory) => abSlot.boot(directory),
  running: (directory, ecu) => (ecu === PRIMARY.serial ? abSlot : file).running(directory, ecu),
};

/** The same two, from a stick. */
const stick: Scenario = { ...components, comesBy: 'stick' };

/** A new installer adds its scenario here. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'ab-slot': abSlot,
  'ab-slot-zstd': abSlotZstd,
  'ab-slot-uboot': abSlotWith(loadUboot('boot-order')),
  'ab-slot-bootcount': abSlotWith(loadUboot('bootcount')),
  'ab-slot-grub': abSlotWith(loadGrub),
  'ab-slot-systemd-boot': abSlotWith(loadSystemdBoot),
  file,
  directory,
  command,
  components,
  compose,
  ostree,
  rauc,
  stick,
  swupdate,
};

/** @throws Error for a name that is none */
export function scenarioOf(name: string): Scenario {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) throw new Error(`no such scenario: ${name}`);
  return scenario;
}
