/**
 * A disk whose writes and flushes are logged, as block devices of this machine.
 *
 * qemu-storage-daemon shows the disk as a file (FUSE) and logs what reaches it; loop devices make it
 * partitions. So the kernel's own file systems are on top, and no virtual machine is needed. A loop
 * device turns the flushes of a file system, and fsync of the device, into fsync of that file.
 *
 * Source: qemu-storage-daemon(1), "fuse"; qemu-block-drivers(7); loop.c, `lo_req_flush`.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  openSync,
  closeSync,
  writeSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { attachLoop, detachLoop, loopProblem } from '../../support/loop-device.ts';
import { parseBlockLog, type Entry } from './block-log.ts';

export interface Region {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Why no disk can be logged on this machine; `undefined` where one can. */
export function loggedDiskProblem(): string | undefined {
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  return loopProblem();
}

/** @param path - the disk; how it was before the first write is for the caller to keep */
export async function logDisk(directory: string, path: string): Promise<LoggedDisk> {
  const at = (name: string): string => join(directory, name);
  for (const name of ['log', 'export']) writeFileSync(at(name), '');
  const file = (node: string, filename: string): string =>
    `driver=file,node-name=${node},filename=${filename}`;
  const log = 'driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512';
  const shown = `type=fuse,id=shown,node-name=logged,mountpoint=${at('export')},writable=on`;
  const daemon = spawn(
    'qemu-storage-daemon',
    ['--blockdev', file('disk', path), '--blockdev', file('log', at('log'))].concat([
      '--blockdev',
      `${log},log-super-update-interval=1`,
      '--export',
      shown,
    ]),
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  daemon.stderr.on('data', (part: Buffer) => (said += part.toString()));
  // The empty file gives way to the disk.
  while (statSync(at('export')).size === 0) {
    if (daemon.exitCode !== null) throw new Error(`qemu-storage-daemon: ${said}`);
    await setTimeout(5);
  }
  return new LoggedDisk(daemon, at('export'), at('log'));
}

export class LoggedDisk {
  /** The disk as a file: what is written there is logged, too. */
  readonly path: string;
  readonly #daemon: ChildProcess;
  readonly #log: string;
  readonly #loops: string[] = [];

  constructor(daemon: ChildProcess, path: string, log: string) {
    this.#daemon = daemon;
    this.path = path;
    this.#log = log;
  }

  /** @returns the block device of a partition */
  attach({ offsetBytes, lengthBytes }: Region): string {
    const limits = ['-o', String(offsetBytes), '--sizelimit', String(lengthBytes)];
    const device = attachLoop(this.path, ...limits);
    this.#loops.push(device);
    return device;
  }

  /** Switches it off; nothing may be mounted. */
  async close(): Promise<readonly Entry[]> {
    for (const device of this.#loops.splice(0)) detachLoop(device);
    if (this.#daemon.exitCode === null) {
      this.#daemon.kill();
      await once(this.#daemon, 'exit');
    }
    return parseBlockLog(readFileSync(this.#log));
  }
}

/** Says in the log how far things have come; `where` is the file that `LoggedDisk.path` names. */
export function writeMark(where: string, offsetBytes: number, sector: Buffer): void {
  const file = openSync(where, 'r+');
  try {
    writeSync(file, sector, 0, sector.length, offsetBytes);
  } finally {
    closeSync(file);
  }
}
