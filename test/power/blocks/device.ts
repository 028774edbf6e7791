/** A device on one disk: its agent's state and boot environment on ext4, its slots as block devices. */
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { prepare } from '../../crash/crash-device.ts';
import type { Scenario } from '../../crash/scenario.ts';
import { attachLoop, detachLoop } from '../../support/loop-device.ts';
import { PRIMARY } from '../../support/uptane-world.ts';
import {
  boardOf,
  openSlots,
  OUTSIDE,
  readWithGrub,
  writeCommandLine,
  writeWithGrub,
  type Board,
  type Slot,
} from './boards.ts';
import { DATA, DISK_BYTES, regionOf, SLOTS } from './layout.ts';

/** Bytes that are like no other bytes of these images: a sector in the wrong place is seen. */
function contentOf(name: string, lengthBytes: number): Buffer {
  const outputLength = Math.ceil(lengthBytes / 2);
  const text = createHash('shake256', { outputLength }).update(name).digest('hex');
  return Buffer.from(text, 'latin1').subarray(0, lengthBytes);
}

export const IMAGE = contentOf('new image', 1024 * 1024 + 70_017);
export const FACTORY = contentOf('factory image', SLOTS.a.lengthBytes);

export function imageIn(slot: Buffer): 'old' | 'new' | 'neither' {
  if (slot.subarray(0, IMAGE.length).equals(IMAGE)) return 'new';
  return slot.equals(FACTORY) ? 'old' : 'neither';
}

/** Everything of one device, and of the world around it, in a directory. */
export class BlockDevice {
  readonly board: Board;
  readonly scenario: Scenario;
  readonly #directory: string;

  /** @param directory - empty, or of a device that `make` made */
  constructor(directory: string, boardName: string) {
    this.board = boardOf(boardName);
    this.#directory = directory;
    const { board } = this;
    this.scenario = {
      ecus: [PRIMARY],
      prepare: () => [{ ecu: PRIMARY, content: IMAGE }],
      open: (at) => openSlots(board, at),
      boot: () => undefined,
      running: () => 'neither',
    };
  }

  get disk(): string {
    return join(this.#directory, 'disk');
  }

  /** Where its file system is mounted, whenever it is: some of its files name the place. */
  get root(): string {
    return join(this.#directory, 'root');
  }

  /** What is not on the disk. */
  get outside(): string {
    return join(this.#directory, OUTSIDE);
  }

  at(name: string): string {
    return join(this.#directory, name);
  }

  /** As it leaves the factory; it has booted slot a. */
  async make(): Promise<void> {
    const world = this.at('world');
    for (const path of [world, this.root]) mkdirSync(path);
    writeCommandLine(this.outside, 'a');
    await prepare(world, this.scenario);
    const image = this.at('data');
    writeFileSync(image, '');
    truncateSync(image, DATA.lengthBytes);
    execFileSync('mkfs.ext4', ['-q', '-F', '-b', '4096', image], { stdio: 'pipe' });
    await this.mounted(image, () => {
      this.#furnish(world);
    });
    const disk = Buffer.alloc(DISK_BYTES);
    readFileSync(image).copy(disk, DATA.offsetBytes);
    for (const { offsetBytes } of Object.values(SLOTS)) FACTORY.copy(disk, offsetBytes);
    writeFileSync(this.disk, disk);
  }

  /** Calls `act` while a file system is at `root`. */
  async mounted<T>(image: string, act: () => T | Promise<T>): Promise<T> {
    const loop = attachLoop(image);
    try {
      mount(loop, this.root);
      try {
        return await act();
      } finally {
        unmount(this.root);
      }
    } finally {
      detachLoop(loop);
    }
  }

  /** Power on, after the device was switched off properly. */
  async boot(): Promise<void> {
    const image = this.at('data');
    const disk = readFileSync(this.disk);
    writeFileSync(image, regionOf(disk, DATA));
    await this.bootFrom(image);
    readFileSync(image).copy(disk, DATA.offsetBytes);
    writeFileSync(this.disk, disk);
  }

  /**
   * Power on, from a file system as power found it.
   *
   * @returns the slot that boots
   */
  async bootFrom(image: string): Promise<Slot> {
    const slot = await this.#load(image);
    writeCommandLine(this.outside, slot);
    writeFileSync(join(this.at('world'), 'boot-id'), randomUUID());
    return slot;
  }

  async #load(image: string): Promise<Slot> {
    const { raw } = this.board;
    if (raw === undefined) {
      return this.mounted(image, () => this.board.boot(join(this.root, 'device')));
    }
    const memory = mkdtempSync(this.at('loader-'));
    const [path, copy] = [`/device/${raw}`, join(memory, raw)];
    writeFileSync(copy, readWithGrub(image, path));
    const slot = this.board.boot(memory);
    writeWithGrub(image, path, readFileSync(copy));
    rmSync(memory, { recursive: true });
    return slot;
  }

  #furnish(world: string): void {
    for (const name of readdirSync(world)) {
      const isOnDisk = name === 'device' || name.startsWith('state.db');
      if (isOnDisk) cpSync(join(world, name), join(this.root, name), { recursive: true });
      else symlinkSync(join(world, name), join(this.root, name));
    }
    symlinkSync(join(world, 'manifests'), join(this.root, 'manifests'));
    symlinkSync(this.outside, join(this.root, 'device', OUTSIDE));
    // Here and not in the world: some of its files name their place.
    this.board.prepare(join(this.root, 'device'));
  }
}

/**
 * As a device mounts it, with one difference: ext4 does not write a file before it is renamed unless
 * it is told to, so that a forgotten fsync is seen.
 *
 * @throws Error outside of a mount namespace of our own: one that any other process makes meanwhile
 *   would go on holding what is unmounted here, and the next to be mounted would be the same
 */
export function mount(device: string, where: string): void {
  const [own, parent] = ['self', String(process.ppid)].map((id) =>
    readlinkSync(`/proc/${id}/ns/mnt`),
  );
  if (own === parent) throw new Error('mount namespace of our own wanted: run it with unshare -m');
  execFileSync('mount', ['-t', 'ext4', '-o', 'noatime,noauto_da_alloc', device, where], {
    stdio: 'pipe',
  });
}

export function unmount(where: string): void {
  execFileSync('umount', [where], { stdio: 'pipe' });
}

/** Of regular files only; `to` is made. */
export function copyFiles(from: string, to: string): void {
  mkdirSync(to);
  for (const name of readdirSync(from)) {
    if (lstatSync(join(from, name)).isFile()) copyFileSync(join(from, name), join(to, name));
  }
}
