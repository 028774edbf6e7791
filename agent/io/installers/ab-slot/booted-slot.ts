/** Which slot runs: said by whoever booted it, or else by where the root file system comes from. */
import { readFile } from 'node:fs/promises';

import { failed, isSlot, SLOTS, type Slot } from './boot-choice.ts';
import { mountedAt, overlap, storageAt } from './slot-storage.ts';

export interface BootedSources {
  /** File in which the boot loader or initramfs names the slot; absent: the kernel command line does. */
  readonly bootedPath?: string | undefined;
  readonly commandLinePath?: string;
}

/**
 * @throws OtaError INSTALL_FAILED if nothing says it
 */
export async function bootedSlot(
  { bootedPath, commandLinePath = '/proc/cmdline' }: BootedSources,
  slots: Readonly<Record<Slot, string>>,
): Promise<Slot> {
  if (bootedPath !== undefined) return namedIn(bootedPath);
  const named = parameterOf(await readFile(commandLinePath, 'utf8'));
  if (named === undefined) return rootSlot(slots, commandLinePath);
  const slot = named.toLowerCase();
  if (isSlot(slot)) return slot;
  throw failed(`${commandLinePath} names slot ${JSON.stringify(named)}, want a or b`);
}

async function namedIn(path: string): Promise<Slot> {
  const text = (await readFile(path, 'utf8')).trim();
  if (isSlot(text)) return text;
  const remedy = 'the boot loader or initramfs must write the booted slot there';
  throw failed(`${path} says ${JSON.stringify(text)}, want a or b: ${remedy}`);
}

/** Of `ota.slot=` and `rauc.slot=` the last one, as with every parameter of the kernel. */
function parameterOf(commandLine: string): string | undefined {
  const values = commandLine
    .split(/\s+/u)
    .map((word) => /^(?:ota|rauc)\.slot=(.*)$/u.exec(word)?.[1]);
  return values.findLast((value) => value !== undefined);
}

async function rootSlot(
  slots: Readonly<Record<Slot, string>>,
  commandLinePath: string,
): Promise<Slot> {
  const root = await mountedAt('/');
  for (const slot of SLOTS) {
    const storage = await storageAt(slots[slot]);
    if (root.some((mounted) => overlap(mounted, storage))) return slot;
  }
  const remedy = 'pass ota.slot=a or ota.slot=b to the kernel, or set installer.booted_file';
  throw failed(`${commandLinePath} names no slot, and / is on neither: ${remedy}`);
}
