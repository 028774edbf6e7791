/** Boards with two slots that are block devices, and what their boot loaders do when power comes. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, openSync, closeSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { GrubEnvironment } from '../../../agent/io/installers/ab-slot/grub.ts';
import type { BootChoice } from '../../../agent/io/installers/ab-slot/boot-choice.ts';
import { Marker } from '../../../agent/io/installers/ab-slot/marker.ts';
import { RecordFile, type SlotRecord } from '../../../agent/io/installers/ab-slot/record.ts';
import { UbootEnvironment, type Convention } from '../../../agent/io/installers/ab-slot/uboot.ts';
import { AbSlotInstaller } from '../../../agent/io/installers/ab-slot.ts';
import { bootBoard, readMarkerValues } from '../../support/boot-loader.ts';
import { Grub } from '../../support/boot-loaders/grub.ts';
import { Uboot } from '../../support/boot-loaders/uboot.ts';
import { SECTOR_BYTES } from './block-log.ts';

export type Slot = 'a' | 'b';

/** The boot loader's files are in `directory`, which may be a copy of it. */
export interface Board {
  /** As the factory leaves them. */
  prepare(directory: string): void;
  choice(directory: string): BootChoice;
  /** Power on: counts, and says what boots. */
  boot(directory: string): Slot;
  /**
   * What the boot loader reads, for comparing; it has one form only.
   *
   * @throws Error if the boot loader could not read it
   */
  read(directory: string): string;
  /** A file that the boot loader reads by itself, from a file system that nobody has repaired. */
  readonly raw?: string;
}

export const TRIES = 2;

const marker: Board = {
  prepare: (directory) => {
    writeFileSync(join(directory, 'marker'), 'active=a\nstate=good\ntries=0\n');
  },
  choice: (directory) => new Marker(join(directory, 'marker'), TRIES),
  boot: (directory) => {
    const at = (name: string): string => join(directory, name);
    return bootBoard({ marker: at('marker'), booted: '/dev/null', bootId: '/dev/null' });
  },
  read: (directory) => {
    const { active, state, tries } = readMarkerValues(join(directory, 'marker'));
    if (active === undefined || state === undefined || tries === undefined) {
      throw new Error('the marker is not whole');
    }
    return formed({ active, state, tries });
  },
};

const grub: Board = {
  prepare: (directory) => {
    new Grub(join(directory, 'grubenv'));
  },
  choice: (directory) => new GrubEnvironment(join(directory, 'grubenv'), TRIES),
  boot: (directory) => new Grub(join(directory, 'grubenv')).boot(),
  read: (directory) => formed(new Grub(join(directory, 'grubenv')).values()),
  raw: 'grubenv',
};

/** What must not be done, to see that it is found: the environment is written with GRUB's own editor. */
const careless: Board = {
  ...grub,
  choice: (directory) => new CarelessEnvironment(join(directory, 'grubenv'), TRIES),
};

class CarelessEnvironment extends GrubEnvironment {
  override async attempt(slot: Slot, fallback: Slot): Promise<void> {
    const trial = [`ota_active=${slot}`, 'ota_state=trial', `ota_tries=${String(TRIES)}`];
    execFileSync('grub-editenv', [this.where, 'set', ...trial, `ota_fallback=${fallback}`]);
    await Promise.resolve();
  }
}

function uboot(convention: Convention): Board {
  const factory = { 'boot-order': { BOOT_ORDER: 'A' }, bootcount: { ota_slot: 'a' } };
  const open = (directory: string): Uboot => {
    const loader = new Uboot(directory, factory[convention]);
    // The directory may be a copy of the one that the file was made in.
    const copies = ['uboot.env', 'uboot-redundant.env'].map((name) => join(directory, name));
    writeFileSync(loader.config, copies.map((path) => `${path} 0x0 0x2000\n`).join(''));
    return loader;
  };
  return {
    prepare: open,
    choice: (directory) =>
      new UbootEnvironment({
        configPath: join(directory, 'fw_env.config'),
        convention,
        tries: TRIES,
      }),
    boot: (directory) => {
      const loader = open(directory);
      return convention === 'bootcount' ? loader.bootByCount() : loader.bootByOrder();
    },
    read: (directory) => formed(Object.fromEntries(open(directory).values())),
  };
}

export const BOARDS: Readonly<Record<string, Board>> = {
  marker,
  grub,
  uboot: uboot('boot-order'),
  'uboot-bootcount': uboot('bootcount'),
};

/** @throws Error for a name that is none */
export function boardOf(name: string): Board {
  const board = name === 'careless' ? careless : BOARDS[name];
  if (board === undefined) throw new Error(`no such board: ${name}`);
  return board;
}

/** Where a device has what is not on its disk: the way to its slots, and its kernel command line. */
export const OUTSIDE = 'outside';

/** The installer as the agent has it. */
export function openSlots(board: Board, directory: string): AbSlotInstaller {
  const outside = (name: string): string => join(directory, OUTSIDE, name);
  return new AbSlotInstaller({
    slots: { a: outside('slot-a'), b: outside('slot-b') },
    choice: board.choice(directory),
    record: openRecord(board, directory),
    booted: { commandLinePath: outside('cmdline') },
    checkpointBytes: CHECKPOINT_BYTES,
  });
}

export function openRecord(board: Board, directory: string): SlotRecord {
  const choice = board.choice(directory);
  return choice instanceof Marker ? choice : new RecordFile(join(directory, 'record'));
}

/** A few in one image. */
const CHECKPOINT_BYTES = 512 * 1024;

/** Says which slot booted. */
export function writeCommandLine(outside: string, slot: Slot): void {
  mkdirSync(outside, { recursive: true });
  writeFileSync(join(outside, 'cmdline'), `quiet ota.slot=${slot} rw\n`);
}

/**
 * A file as GRUB reads it: with its own driver, which leaves the journal of ext4 alone.
 *
 * @param image - a file system, not mounted
 */
export function readWithGrub(image: string, path: string): Buffer {
  return grubFstest(image, 'cat', path);
}

/** Writes a file where it is, as GRUB's `save_env` does. */
export function writeWithGrub(image: string, path: string, content: Buffer): void {
  const blocks = grubFstest(image, 'blocklist', path).toString().trim().split(',');
  const file = openSync(image, 'r+');
  let at = 0;
  for (const block of blocks) {
    const [, sector, count] = /^(\d+)\+(\d+)$/u.exec(block) ?? [];
    if (count === undefined) throw new Error(`grub-fstest says ${block}`);
    const lengthBytes = Number(count) * SECTOR_BYTES;
    writeSync(file, content, at, lengthBytes, Number(sector) * SECTOR_BYTES);
    at += lengthBytes;
  }
  closeSync(file);
}

function grubFstest(image: string, command: string, path: string): Buffer {
  return execFileSync('grub-fstest', [image, command, `(loop0)${path}`], { stdio: 'pipe' });
}

/** The slot that the kernel command line names. */
export function slotIn(outside: string): Slot {
  return readFileSync(join(outside, 'cmdline'), 'utf8').includes('ota.slot=a') ? 'a' : 'b';
}

function formed(values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}`);
  return lines.sort().join('\n');
}
