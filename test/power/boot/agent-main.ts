/**
 * The agent's installer on the disk of another machine, whose power is cut as soon as it has ended.
 *
 * `unshare -m node agent-main.ts DIRECTORY BOOTED TRIES STEP…`, with `disk`, and `image` to install, in
 * DIRECTORY: leaves there `crashed`, the disk as it is then, still mounted, and prints `describe`.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { GrubEnvironment } from '../../../agent/io/installers/ab-slot/grub.ts';
import { RecordFile } from '../../../agent/io/installers/ab-slot/record.ts';
import { AbSlotInstaller } from '../../../agent/io/installers/ab-slot.ts';
import { download, ignore } from '../../support/ab-slot.ts';
import { attachLoop, detachLoop } from '../../support/loop-device.ts';
import { targetFor } from '../../support/targets.ts';
import { SECTOR_BYTES, type Partition } from './gpt.ts';
import { PARTITIONS } from './grub-disk.ts';

const [, , directory = '', booted = 'a', tries = '', ...steps] = process.argv;
const at = (name: string): string => join(directory, name);
const content = readFileSync(at('image'));
const target = targetFor(content);

async function act(slots: { a: string; b: string }): Promise<void> {
  writeFileSync(at('cmdline'), `ota.slot=${booted}\n`);
  const installer = new AbSlotInstaller({
    slots,
    choice: new GrubEnvironment(at('mounted/grub/grubenv'), Number(tries)),
    record: new RecordFile(at('record')),
    booted: { commandLinePath: at('cmdline') },
  });
  for (const step of steps) {
    if (step === 'install') {
      await installer.check(target);
      await installer.receive(target, (offset) => download(content, offset), ignore);
      await installer.prove(target, ignore);
      await installer.activate(target);
    } else if (step === 'confirm') {
      await installer.confirm(target);
    } else {
      throw new Error(`no such step: ${step}`);
    }
  }
  copyFileSync(at('disk'), at('crashed'));
  const isNew = await installer.booted(target);
  process.stdout.write(JSON.stringify({ isNew, ...(await installer.describe()) }));
}

const loops: string[] = [];

function attach({ firstSector, sectors }: Partition): string {
  const [offset, limit] = [firstSector, sectors].map((size) => String(size * SECTOR_BYTES));
  const loop = attachLoop(at('disk'), '-o', offset ?? '', '--sizelimit', limit ?? '');
  loops.push(loop);
  return loop;
}

try {
  mkdirSync(at('mounted'), { recursive: true });
  execFileSync('mount', ['-t', 'ext4', attach(PARTITIONS.boot), at('mounted')]);
  try {
    await act({ a: attach(PARTITIONS.a), b: attach(PARTITIONS.b) });
  } finally {
    execFileSync('umount', [at('mounted')]);
  }
} finally {
  for (const loop of loops) detachLoop(loop);
}
