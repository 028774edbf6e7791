/** Devices with two slots, one for each boot loader that the installer speaks to. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { GrubEnvironment } from '../../agent/io/installers/ab-slot/grub.ts';
import { RecordFile } from '../../agent/io/installers/ab-slot/record.ts';
import { SystemdBoot } from '../../agent/io/installers/ab-slot/systemd-boot.ts';
import { UbootEnvironment, type Convention } from '../../agent/io/installers/ab-slot/uboot.ts';
import type { AbSlotInstaller, AbSlotSettings } from '../../agent/io/installers/ab-slot.ts';
import type { InstallerFixture } from '../contract/installer.contract.ts';
import {
  download,
  fileSlots,
  ignore,
  openAbSlot,
  TRIES,
  UPDATE,
  whichImage,
  type SlotPaths,
} from './ab-slot.ts';
import { bootBoard } from './boot-loader.ts';
import { Grub } from './boot-loaders/grub.ts';
import { SystemdBootLoader } from './boot-loaders/systemd-boot.ts';
import { Uboot } from './boot-loaders/uboot.ts';
import { targetFor } from './targets.ts';

export interface Device extends InstallerFixture {
  readonly installer: AbSlotInstaller;
  boot(): void;
  /** All of the slot that booted. */
  running(): ReturnType<typeof whichImage>;
}

/** A device whose boot loader says on the kernel command line which slot it booted. */
function deviceWith(
  slots: SlotPaths,
  directory: string,
  loader: Pick<AbSlotSettings, 'choice'> & { boot(): string },
): Device {
  const commandLine = join(directory, 'cmdline');
  const boot = (): void => {
    writeFileSync(commandLine, `quiet ${loader.boot()} rw\n`);
  };
  boot();
  const board = { marker: '', booted: '', bootId: '' };
  const slot = (): string =>
    /slot=a/iu.test(readFileSync(commandLine, 'utf8')) ? slots.a : slots.b;
  return {
    installer: openAbSlot(slots, board, {
      choice: loader.choice,
      record: new RecordFile(join(directory, 'record')),
      booted: { commandLinePath: commandLine },
    }),
    target: targetFor(UPDATE),
    content: UPDATE,
    running: () => whichImage(readFileSync(slot())),
    boot,
  };
}

export function withMarker(
  directory: string,
  slots = fileSlots(directory),
  changes: Partial<AbSlotSettings> = {},
): Device & { marker: string } {
  const at = (name: string): string => join(directory, name);
  const board = { marker: at('marker'), booted: at('booted'), bootId: at('boot-id') };
  bootBoard(board);
  const booted = (): 'a' | 'b' => readFileSync(board.booted, 'utf8').trim() as 'a' | 'b';
  return {
    installer: openAbSlot(slots, board, changes),
    target: targetFor(UPDATE),
    content: UPDATE,
    running: () => whichImage(readFileSync(slots[booted()])),
    boot: () => {
      bootBoard(board);
    },
    marker: board.marker,
  };
}

export function withUboot(directory: string, convention: Convention): Device & { uboot: Uboot } {
  const factory = { 'boot-order': { BOOT_ORDER: 'A' }, bootcount: { ota_slot: 'a' } };
  const uboot = new Uboot(directory, { ...factory[convention], board: 'rev-b' });
  const choice = new UbootEnvironment({ configPath: uboot.config, convention, tries: TRIES });
  const boot = (): string =>
    convention === 'bootcount'
      ? `ota.slot=${uboot.bootByCount()}`
      : `rauc.slot=${uboot.bootByOrder().toUpperCase()}`;
  return { ...deviceWith(fileSlots(directory), directory, { choice, boot }), uboot };
}

export function withGrub(directory: string): Device & { grub: Grub } {
  const grub = new Grub(join(directory, 'grubenv'));
  const choice = new GrubEnvironment(grub.environment, TRIES);
  const boot = (): string => `ota.slot=${grub.boot()}`;
  return { ...deviceWith(fileSlots(directory), directory, { choice, boot }), grub };
}

export function withSystemdBoot(directory: string): Device & { loader: SystemdBootLoader } {
  const loader = new SystemdBootLoader(join(directory, 'esp'));
  const choice = new SystemdBoot(loader.entries, TRIES);
  const boot = (): string => loader.boot();
  return { ...deviceWith(fileSlots(directory), directory, { choice, boot }), loader };
}

export async function take({ installer, target, content }: Device): Promise<void> {
  await installer.receive(target, (offset) => download(content, offset), ignore);
  await installer.prove(target, ignore);
}
